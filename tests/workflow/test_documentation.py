"""What is generated has not drifted, and what docs/ points at is there."""

import re

import pytest

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import checked
from workflow_scripts.workflow.reference import documents, merged
from workflow_scripts.workflow.settings import fields

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", documents())
def test_generated_documents_are_up_to_date(name):
    assert (ROOT / name).read_text(encoding="utf-8") == documents()[name], (
        "run: python -m workflow_scripts.workflow.reference"
    )


@pytest.mark.parametrize("scale", ["smoke", "laptop", "gpu", "paper"])
def test_every_scale_is_a_valid_configuration(scale):
    study = checked(merged(scale))
    assert study.scale == scale


def test_every_key_says_what_it_means():
    study = checked(merged("laptop"))
    for key, field in fields(type(study)):
        assert field.description, key
    for method in study.methods:
        for key, field in fields(type(getattr(study, method))):
            assert field.description and not field.description[0].islower() and field.description.endswith("."), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for name in re.findall(r"`((?:workflow_scripts|rules|scales|envs|tests|docs|benchmarks)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_the_lock_pins_everything_without_local_versions():
    lines = [line for line in (ROOT / "envs" / "lock.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert "torch==2.13.0" in lines
