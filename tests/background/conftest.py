"""What the tests of the background method share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real mosaics, by default ../shared/data/background; skips where there is none."""
    project = Path(__file__).parents[2]
    root = Path(os.environ.get("BEAMTIME_REAL_DATA", project.parent / "shared" / "data"))
    folder = root / "background"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set BEAMTIME_REAL_DATA)")
    return folder
