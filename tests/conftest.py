"""What holds for all tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# These machines are shared: how long an example takes says nothing about it.
settings.register_profile("beamtime", deadline=None)
settings.load_profile("beamtime")

# Under nohup, or in the background of a script, these are ignored, and so they would be by all that tests start; a
# handler that does nothing is not inherited.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


@pytest.fixture(scope="module")
def real_data(request) -> Path:
    """The folder of the method's real data, in BEAMTIME_REAL_DATA or ../shared/data; skips where there is none."""
    root = Path(os.environ.get("BEAMTIME_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    folder = root / request.path.parent.name
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set BEAMTIME_REAL_DATA)")
    return folder
