"""Figures and tables are made where torch cannot be imported at all."""

import os
import subprocess
import sys

import pytest

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import known_methods

MODULES = [
    *(f"workflow_scripts.{method}.plot" for method in known_methods()),
    *(f"workflow_scripts.study.{name}" for name in ("overview", "result_table", "cost", "ledger", "comparison")),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Python finds a torch that refuses to be imported before it finds the real one."""
    folder = tmp_path_factory.mktemp("without") / "torch"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('there is no torch here')\n")
    return os.environ | {"PYTHONPATH": str(folder.parent)}


def test_the_block_blocks(environment):
    done = subprocess.run([sys.executable, "-c", "import torch"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "there is no torch here" in done.stderr


def test_everything_that_is_drawn_or_tabulated_loads_without_torch(environment):
    program = f"import {', '.join(MODULES)}"
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
