"""abTEM itself, where it is installed: its results agree with the stored ones."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.torture


@pytest.mark.skipif("ABTEM_PYTHON" not in os.environ, reason="ABTEM_PYTHON names no Python with abTEM")
def test_the_kept_images_are_what_abtem_says(tmp_path):
    here = Path(__file__).parent
    fresh = tmp_path / "fresh.npz"
    done = subprocess.run(
        [os.environ["ABTEM_PYTHON"], here / "make_scan_oracle.py", fresh], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(fresh) as new, np.load(here / "abtem_scans.npz") as kept:
        assert set(new.files) == set(kept.files)
        for name in kept.files:
            if kept[name].dtype.kind == "f":
                assert np.abs(new[name] - kept[name]).max() <= 1e-5 * np.abs(kept[name]).max(), name
            else:
                assert (new[name] == kept[name]).all(), name
