"""A copy of the project to run Snakemake in, and how to run it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from workflow_scripts.workflow.closure import ROOT

FOLDERS = ("workflow_scripts", "rules", "scales", "envs", "profiles", "docs")
FILES = ("Snakefile", "config.yaml")
# `python` in a rule is what PATH has; no Slurm controller is asked for.
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "SLURM_CONF": "/dev/null",
}


def copy_project(folder: Path) -> Path:
    """Everything of the project that a run needs, so that a test may change it."""
    folder.mkdir(exist_ok=True)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake as a user would; its output and errors as text."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=900,
    )


def assert_refused(folder: Path, sentence: str, *words: str) -> None:
    """A dry run fails with this sentence and without a traceback."""
    done = snakemake(folder, "--dry-run", *words)
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert sentence in text
    assert "Traceback" not in text


def planned(folder: Path, *words: str) -> dict[str, int]:
    """How many jobs of each rule a dry run names, without the rules that only collect."""
    done = snakemake(folder, "--dry-run", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    collecting = ("all", "figures", "tables", "claims", "total")
    return {rule: int(count) for rule, count in jobs.items() if rule not in collecting}
