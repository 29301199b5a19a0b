"""The stage script of a training: killed at a random moment and run again, it ends with the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.diffractive_imaging import settings
from tests.workflow.running import ENVIRONMENT, copy_project
from workflow_scripts.diffractive_imaging.simulation import datasets
from workflow_scripts.diffractive_imaging.simulation.sources import photographs
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import as_arguments

OUTPUTS = ("weights.safetensors", "last.safetensors", "history.csv")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("killed"))
    synthesize = settings.synthesize()
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    files = [photographs(None, split)[:2] for split in ("train", "validation")]
    arrays = datasets.training_set(synthesize, light, *files, np.random.default_rng(0))
    write_arrays(folder / "shard0.npz", arrays)
    return folder


def start(project, name):
    pretrain = settings.pretrain(epochs=60, epoch_by_hand=60, checkpoint_interval_s=0.0)
    words = ["--variant", "corrected", "--seed", "3", "--gpus", "0", "--precision", "float32", "--shards", "shard0.npz"]
    outputs = zip(("--weights", "--last", "--history"), OUTPUTS, strict=True)
    words += [word for flag, file in outputs for word in (flag, f"{name}/{file}")]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "workflow_scripts.diffractive_imaging.pretrain", *words),
            *(*as_arguments(pretrain), "--provenance", f"{name}/provenance.json"),
        ],
        cwd=project,
        env=ENVIRONMENT | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )


def test_killed_and_run_again_gives_the_weights_of_an_undisturbed_run(project):
    undisturbed = start(project, "undisturbed")
    assert undisturbed.wait(120) == 0, undisturbed.stderr.read()
    for _ in range(2):
        killed = start(project, "killed")
        checkpoints = project / ".checkpoints"
        deadline = time.monotonic() + 60
        while not list(checkpoints.glob("*/step*")) and killed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        os.kill(killed.pid, signal.SIGKILL)
        assert killed.wait() in (-signal.SIGKILL, 0)
        if killed.returncode == 0:
            break
        assert not list((project / "killed").glob("*.safetensors"))
    resumed = start(project, "killed")
    assert resumed.wait(120) == 0, resumed.stderr.read()
    for name in OUTPUTS:
        assert (project / "killed" / name).read_bytes() == (project / "undisturbed" / name).read_bytes(), name
    assert not list((project / ".checkpoints").iterdir())
