"""What the tests of the matching method share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data of all methods, by default ../shared/data; skips where there is none."""
    project = Path(__file__).parents[2]
    root = Path(os.environ.get("BEAMTIME_REAL_DATA", project.parent / "shared" / "data"))
    if not (root / "matching").is_dir():
        pytest.skip(f"no real data: {root / 'matching'} is not there (set BEAMTIME_REAL_DATA)")
    return root
