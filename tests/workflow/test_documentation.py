"""What is generated has not drifted, and what docs/ points at is there."""

import re

import pytest

from tests.workflow.running import snakemake
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import appliable_methods, checked
from workflow_scripts.workflow.reference import documents, merged
from workflow_scripts.workflow.settings import fields

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", documents())
def test_generated_documents_are_up_to_date(name):
    assert (ROOT / name).read_text(encoding="utf-8") == documents()[name], (
        "run: python -m workflow_scripts.workflow.reference"
    )


def test_the_drawing_of_the_rules_is_up_to_date():
    """Graphviz, which draws it, need not be installed: the drawing holds the names of nodes and edges as titles."""
    drawing = (ROOT / "docs/images/rules.svg").read_text(encoding="utf-8")
    labels = dict(re.findall(r"<title>(\d+)</title>.*?<text[^>]*>(\w+)</text>", drawing, flags=re.DOTALL))
    drawn = {(labels[a], labels[b]) for a, b in re.findall(r"<title>(\d+)&#45;&gt;(\d+)</title>", drawing)}
    done = snakemake(ROOT, "--rulegraph", "--config", "scale=laptop")
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', done.stdout, flags=re.MULTILINE))
    edges = {(names[a], names[b]) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, flags=re.MULTILINE)}
    assert drawn == edges, "run: make docs/images/rules.svg"


@pytest.mark.parametrize("scale", ["smoke", "laptop", "workstation", "gpu", "paper"])
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


def anchors(page):
    """Of a Markdown page's headings as a forge makes them: lower case, no punctuation, spaces as dashes."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = []
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if target.startswith("http"):
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}#{anchor}"
    for name in re.findall(r"`((?:workflow_scripts|rules|scales|envs|tests|docs|benchmarks)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


@pytest.mark.parametrize("name", ["lock.txt", "docs.txt"])
def test_a_lock_pins_everything_without_local_versions(name):
    lines = [line for line in (ROOT / "envs" / name).read_text().splitlines() if line and line[0] != "#"]
    assert lines and all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert name != "lock.txt" or "torch==2.13.0" in lines


PARTS = ["Physics in half a page", "The data", "The stages", "The two arms", "Results", "On your files", "Limits"]


@pytest.mark.parametrize("method", appliable_methods())
def test_every_method_has_a_page_of_the_same_form(method):
    text = (ROOT / "docs" / f"{method}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert [heading for heading in headings if heading in PARTS] == PARTS
    results = text.split("\n## Results\n")[1]
    assert f"](images/{method}.png)" in results
    own = text.split("\n## On your files\n")[1]
    assert f"{method}_apply" in own and "](own-data.md#" in own
