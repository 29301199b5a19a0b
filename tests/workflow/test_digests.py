"""The digest of what a job is given, and dates that are still to come."""

import os
import time

import pytest

from workflow_scripts.workflow import given
from workflow_scripts.workflow.errors import InputError


def digest(*paths):
    """As a new process finds it."""
    given.digest.cache_clear()
    given._of_file.cache_clear()
    return given.digest(tuple(map(str, paths)))


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


def test_of_a_large_file_samples_to_its_last_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(given, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(given, "_SAMPLE_BYTES", 10)
    path = tmp_path / "large.h5"
    content = bytearray(5000)
    path.write_bytes(content)
    before = digest(path)
    for place, seen in ((0, True), (4999, True), (40, False)):
        content[place] = 1
        path.write_bytes(content)
        assert (digest(path) != before) == seen
        content[place] = 0
    path.write_bytes(bytes(5001))
    assert digest(path) != before


def test_a_date_that_is_still_to_come_is_one_sentence(tmp_path):
    path = tmp_path / "photo.png"
    path.write_text("x")
    given.check_dates([str(path), str(tmp_path / "absent")])
    os.utime(path, (time.time() + 1e6,) * 2)
    with pytest.raises(InputError, match=r"photo.png is dated \d{4}-.*still to come.*touch .*photo.png$"):
        given.check_dates([str(path)])
