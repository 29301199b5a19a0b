"""Digests of code and of the user's files, and dates in the future."""

import os
import time

import pytest

from workflow_scripts.workflow import digests
from workflow_scripts.workflow.errors import InputError


def digest(*paths):
    """As a new process computes it."""
    digests._sha256.cache_clear()
    return digests.file_digest(map(str, paths))


def test_content_counts_and_no_date_does(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    first = digest(path)
    os.utime(path, (0, 0))
    assert digest(path) == first
    path.write_text("two")
    os.utime(path, (0, 0))
    assert digest(path) != first
    assert digest(path, tmp_path / "absent") == digest(path)


def test_two_files_that_change_places_count(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("one")
    b.write_text("two")
    before = digest(a, b)
    a.write_text("two")
    b.write_text("one")
    assert digest(a, b) != before


@pytest.mark.parametrize("place", [0, 1_234_567, 2**21 - 1])
def test_every_byte_of_a_file_counts(tmp_path, place):
    path = tmp_path / "large.h5"
    content = bytearray(2**21)
    path.write_bytes(content)
    before = digest(path)
    content[place] = 1
    path.write_bytes(content)
    assert digest(path) != before


def test_a_date_in_the_future_is_one_sentence(tmp_path):
    path = tmp_path / "photo.png"
    path.write_text("x")
    digest(path, tmp_path / "absent")
    os.utime(path, (time.time() + 1e6,) * 2)
    with pytest.raises(InputError, match=r"photo.png is dated \d{4}-.*in the future.*touch .*photo.png$"):
        digest(path)


def test_code_counts_with_the_data_that_it_reads():
    module = "workflow_scripts.study.estimators"
    assert digests.code_digest(module) == digests.code_digest(module)
    assert digests.code_digest(module) != digests.code_digest("workflow_scripts.study.tables")
    assert digests.code_digest(module) != digests.code_digest(module, data=("config.yaml",))
    with pytest.raises(ModuleNotFoundError):
        digests.code_digest("workflow_scripts.study.no_such")
