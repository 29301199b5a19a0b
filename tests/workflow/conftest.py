"""One smoke-scale run of the whole study, shared by the tests of the DAG."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from skimage import io

from tests.workflow.running import copy_project, snakemake
from tests.workflow.toy_stage import make_toy

OVERLAY = """
diffractive_imaging:
  synthesize:
    photographs: photographs
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy of the project with other photographs, after `snakemake all` at smoke scale.

    Processes of pytest share one run, of which each has a copy to change.
    """
    of_process = tmp_path_factory.getbasetemp()
    shared = (of_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_process) / "finished"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            made = _run_study(copy_project(tmp_path_factory.mktemp("run") / "project"))
            made.rename(shared)
    return Path(shutil.copytree(shared, tmp_path_factory.mktemp("copy") / "project", symlinks=True))


def _run_study(folder):
    (folder / "my.yaml").write_text(OVERLAY)
    (folder / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for k in range(8):
        picture = rng.integers(0, 255, (8, 8)).repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)
        io.imsave(folder / "photographs" / f"photo{k}.png", picture, check_contrast=False)
    done = snakemake(folder, *STUDY, "all")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


STUDY = ("--configfile", "my.yaml", "--config", "scale=smoke", "--")


@pytest.fixture
def toy(tmp_path):
    """A copy of the workflow package with a toy stage beside it."""
    return make_toy(tmp_path)
