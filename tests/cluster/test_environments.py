"""The environments that cannot be built here: their pins and their Python are those of the lock."""

import re

import yaml

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.reference import PYTHON

LOCK = ROOT / "envs" / "lock.txt"


def test_the_conda_environment_has_the_pins_of_the_lock_and_no_other():
    pins = [line for line in LOCK.read_text().splitlines() if line and line[0] != "#"]
    environment = yaml.safe_load((ROOT / "envs" / "study.yaml").read_text())
    assert environment["dependencies"] == [f"python={PYTHON}", "pip", {"pip": pins}], (
        "run: python -m workflow_scripts.workflow.reference"
    )


def test_the_container_installs_the_lock_and_nothing_else():
    text = (ROOT / "envs" / "Apptainer.def").read_text()
    assert re.findall(r"^From: (\S+)$", text, flags=re.MULTILINE) == [f"python:{PYTHON}-slim-bookworm"]
    copied = re.findall(r"^ +(envs/\S+) (\S+)$", text, flags=re.MULTILINE)
    assert copied == [("envs/lock.txt", "/opt/lock.txt")]
    installing = [line.strip() for line in text.splitlines() if re.search(r"\binstall\b", line)]
    assert installing == ["python -m pip install --no-cache-dir --requirement /opt/lock.txt"]


def test_the_makefile_takes_no_older_python():
    major, minor = PYTHON.split(".")
    assert f"sys.version_info < ({major}, {minor})" in (ROOT / "Makefile").read_text()
