"""A sixth method, made only from the text of its tutorial, in an otherwise unchanged project."""

import re
import shutil
import subprocess

import pytest

from tests.workflow import tutorials
from tests.workflow.running import ENVIRONMENT, copy_project, planned
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import STAGES
from workflow_scripts.workflow.files import sha256
from workflow_scripts.workflow.reference import documents


def contents(folder):
    """SHA-256 of every file of a project by its path, without what runs leave."""
    left = {"results", ".snakemake", ".checkpoints", "__pycache__", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    files = (path for path in folder.rglob("*") if path.is_file() and not left & set(path.parts))
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project after sixth-method.md, what its files were before, and what its commands printed."""
    folder = copy_project(tmp_path_factory.mktemp("sixth"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, folder / name)
    before = contents(folder)
    outputs = tutorials.follow("sixth-method", folder)
    return folder, before, outputs


def test_the_page_is_short():
    assert len((tutorials.FOLDER / "sixth-method.md").read_text(encoding="utf-8").splitlines()) <= 400


def test_a_sixth_method_touches_its_folder_its_rule_file_its_caption_and_its_sections_alone(extended):
    folder, before, _ = extended
    after = contents(folder)
    assert before.keys() <= after.keys()
    changed = {name for name in after if before.get(name) != after[name]}
    by_hand = changed - {*documents()}
    inside = {name for name in by_hand if name.startswith("workflow_scripts/denoising/")}
    assert len(inside) > 10
    assert by_hand - inside == {"config.yaml", "rules/denoising.smk", "scales/smoke.yaml", "docs/report/denoising.rst"}
    for name in ("config.yaml", "scales/smoke.yaml"):
        was = (ROOT / name).read_text(encoding="utf-8")
        now, _, section = (folder / name).read_text(encoding="utf-8").partition("\ndenoising:\n")
        assert now.replace(", denoising]", "]") == was
        assert section and all(line.startswith("  ") for line in section.splitlines())


def test_a_sixth_method_is_like_the_others(extended):
    folder, _, _ = extended
    metrics = read_metrics(folder / "results/smoke/denoising/evaluate/metrics.csv")
    assert set(metrics["estimator"]) == {"corrected", "smoothed", "zeros"}
    words = ("--config", "scale=smoke", "--")
    assert planned(folder, *words, "denoising") == {}
    jobs = planned(folder, *words, "all")
    assert {"ledger", "matching_pretrain"} <= jobs.keys() and not any(rule.startswith("denoising") for rule in jobs)
    after_prediction = {"denoising": 1, "denoising_predict": 1, "denoising_evaluate": 1, "denoising_plot": 1}
    for name, jobs in (
        ("pretrain", {"denoising_pretrain": 1, "denoising_finetune": 1, **after_prediction}),
        ("estimators/network", after_prediction),
        ("estimators/smoothed", after_prediction),
    ):
        path = folder / f"workflow_scripts/denoising/{name}.py"
        before = path.read_bytes()
        path.write_bytes(before + b"# a change\n")
        assert planned(folder, *words, "denoising") == jobs
        path.write_bytes(before)


def test_the_first_run_has_a_job_a_stage_and_file_and_a_further_baseline_runs_alone(extended):
    first, second = (re.findall(r"^localrule denoising_(\w+):", output, flags=re.MULTILINE) for output in extended[2])
    assert sorted(first) == sorted([*STAGES, "synthesize"])
    assert second == ["predict", "evaluate", "plot"]


def test_a_sixth_method_keeps_the_rules_of_the_house(extended):
    folder, _, _ = extended
    for words in (
        ("ruff", "check", "workflow_scripts/denoising"),
        ("ruff", "format", "--check", "workflow_scripts/denoising"),
        ("snakefmt", "--check", "rules/denoising.smk"),
        ("pytest", "tests/workflow/test_walls.py", "-k", "denoising or gather or heavy or whom or big or screen"),
        ("pytest", "tests/workflow/test_documentation.py", "-k", "generated or valid or key"),
        ("python", "-m", "workflow_scripts.workflow.verify", "results/smoke"),
    ):
        done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
