"""The walls of the house: who may import whom, read from the sources and from what Python loads."""

import re
import subprocess
import sys

import pytest

from workflow_scripts.workflow.closure import PACKAGE, ROOT, closure
from workflow_scripts.workflow.configuration import STAGES, known_methods

SHARED = {"optics", "formats", "learning", "study", "workflow"}
HEAVY = ("torch", "monai", "ase", "abtem")


def modules_of(package):
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / PACKAGE / package).rglob("*.py"))
        if path.stem != "__init__"
    ]


def packages_in(module):
    return {name.split("/")[1] for name in closure(module) if name.count("/") > 1}


@pytest.mark.parametrize("module", modules_of("optics"))
def test_optics_imports_nothing_of_the_project(module):
    assert packages_in(module) == {"optics"}


@pytest.mark.parametrize(
    ("package", "more"), [("formats", set()), ("learning", set()), ("study", {"formats"})], ids=lambda value: str(value)
)
def test_formats_learning_and_study_import_little_else(package, more):
    for module in modules_of(package):
        assert packages_in(module) <= {package, "workflow", *more}, module


@pytest.mark.parametrize("method", known_methods())
def test_a_method_imports_no_other(method):
    for module in modules_of(method):
        assert packages_in(module) <= {method, *SHARED}, module


def test_only_rules_and_documents_gather_all_settings():
    gathering = f"{PACKAGE}/workflow/configuration.py"
    for method in known_methods():
        for stage in STAGES:
            assert gathering not in closure(f"{PACKAGE}.{method}.{stage}")


LIGHT = [
    *modules_of("study"),
    *modules_of("workflow"),
    f"{PACKAGE}.learning.settings",
    *(f"{PACKAGE}.{method}.{name}" for method in known_methods() for name in ("settings", "plot")),
]


@pytest.mark.parametrize("module", LIGHT)
def test_figures_tables_and_settings_load_no_torch(module):
    program = f"import sys, {module}; print(*({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", modules_of("formats"))
def test_formats_load_no_torch(module):
    program = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_rule_files_import_nothing_heavy():
    for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(rf"^\s*(import|from) ({'|'.join(HEAVY)})\b", text, flags=re.MULTILINE), path
        for module in re.findall(rf"^\s*(?:from|import) ({PACKAGE}[\w.]*)", text, flags=re.MULTILINE):
            for name in closure(module):
                source = (ROOT / name).read_text(encoding="utf-8")
                assert not re.search(rf"^(import|from) ({'|'.join(HEAVY)})\b", source, flags=re.MULTILINE), name


@pytest.mark.parametrize("method", known_methods())
def test_every_method_has_the_six_stages_and_a_thin_script_for_each(method):
    for stage in STAGES:
        path = ROOT / PACKAGE / method / f"{stage}.py"
        text = path.read_text(encoding="utf-8")
        assert '__name__ == "__main__"' in text
        # A figure is drawn in its script.
        assert stage == "plot" or len(text.splitlines()) <= 120, f"{path} is no thin script any more"


def test_nothing_is_too_big_to_see_across():
    for path in [*ROOT.glob("workflow_scripts/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("rules/*.smk")]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path


def test_the_snakefile_fits_on_one_screen():
    assert len((ROOT / "Snakefile").read_text(encoding="utf-8").splitlines()) <= 50
