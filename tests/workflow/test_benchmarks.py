"""Every benchmark can be imported: what it uses of the project exists."""

import importlib
from pathlib import Path

import pytest

from workflow_scripts.workflow.closure import ROOT

NEEDS_ABTEM = "abtem_multislice"
NAMES = [path.stem for path in sorted(Path(ROOT / "benchmarks").glob("*.py")) if path.stem != NEEDS_ABTEM]


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_imported(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__
