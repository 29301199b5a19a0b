"""The tutorials, carried out as written."""

import pytest

from tests.workflow import tutorials
from tests.workflow.running import copy_project

LAST_LINES = {
    "particles": ("median error", "fraction_resolved"),
    "scan": ("network: correlation", "chi2_finetuned"),
    "mosaic": ("mosaic of (120, 216) px", "overlap residual"),
}


@pytest.mark.parametrize("page", LAST_LINES)
def test_a_tutorial_works_as_it_stands(page, tmp_path):
    outputs = tutorials.follow(page, copy_project(tmp_path / "project"))
    for words in LAST_LINES[page]:
        assert words in outputs[-1]


def test_every_tutorial_is_followed_by_a_test():
    pages = {path.stem for path in tutorials.FOLDER.glob("*.md")}
    assert pages == {*LAST_LINES, "sixth-method"}


@pytest.mark.parametrize("page", [*LAST_LINES, "sixth-method"])
def test_commands_and_files_of_a_tutorial_can_be_told_apart(page):
    languages = {language for language, _ in tutorials.blocks(page)}
    assert languages <= {"sh", "python", "yaml"}
