"""What stages do around the training loop: device, files, and an arm without the stage."""

import csv
from types import SimpleNamespace

import pytest
import torch

from workflow_scripts.learning.stages import copy_weights, training_device, write_trained
from workflow_scripts.learning.training import HISTORY
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError


def job(folder, **inputs):
    outputs = {"weights": folder / "weights.safetensors", "history": folder / "history.csv"}
    return Job(SimpleNamespace(gpus=0), inputs, outputs, folder / "checkpoints")


def test_the_provenance_names_the_device(tmp_path):
    made = job(tmp_path)
    made.device = "not yet known"
    with training_device(made) as device:
        assert device == torch.device("cpu")
    assert made.device == "cpu"


def test_more_gpus_than_the_machine_shows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    made = job(tmp_path)
    made.arguments.gpus = 1
    with pytest.raises(InputError, match="is 1, but this process sees 0"), training_device(made):
        pass


def test_an_arm_without_the_stage_hands_the_same_bytes_on(tmp_path):
    first = job(tmp_path)
    write_trained(first, {"a": torch.ones(3)}, [dict.fromkeys(HISTORY, 1.0)], {"arm": "published"})
    assert read_metadata(first.outputs["weights"]) == {"arm": "published"}
    (tmp_path / "next").mkdir()
    second = job(tmp_path / "next", pretrained=[first.outputs["weights"]])
    copy_weights(second)
    assert second.outputs["weights"].read_bytes() == first.outputs["weights"].read_bytes()
    with second.outputs["history"].open() as file:
        assert list(csv.reader(file)) == [list(HISTORY)]
