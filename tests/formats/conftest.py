"""Real files, where a person keeps them: BEAMTIME_REAL_DATA, by default ../shared/data."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data of all methods, by default ../shared/data; skips where there is none."""
    project = Path(__file__).parents[2]
    root = Path(os.environ.get("BEAMTIME_REAL_DATA", project.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is not there (set BEAMTIME_REAL_DATA)")
    return root
