"""What `apply` does with an image that the user's patterns contradict."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from tests.diffractive_imaging import settings, user_scan
from workflow_scripts.diffractive_imaging.apply.apply import apply
from workflow_scripts.diffractive_imaging.apply.data import CheckedScan
from workflow_scripts.diffractive_imaging.apply.phase_image import phase_image
from workflow_scripts.diffractive_imaging.networks.model import make_network
from workflow_scripts.diffractive_imaging.settings import PtychographySettings
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import Scan
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays, write_json

OUTPUTS = {"h5": "phase.h5", "tiff": "phase.tif", "png": "preview.png", "quality": "quality.json"}


def job(folder: Path, positions: torch.Tensor, counts: torch.Tensor) -> Job:
    """Of a scan and a network of random weights."""
    scan = CheckedScan(Scan(counts, positions, False), user_scan.light(), {})
    write_arrays(folder / "scan.npz", scan.arrays())
    orientation = {"rotation_deg": user_scan.ROTATION_DEG, "detector_transposed": False}
    write_json(folder / "report.json", {"orientation": orientation})
    metadata = {"n": user_scan.N, "network": settings.network().model_dump(mode="json")}
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in make_network(user_scan.N, settings.network(), seed=0).state_dict().items()
    }
    save_weights(state, folder / "weights.safetensors", metadata)
    arguments = SimpleNamespace(
        gpus=0,
        precision="float32",
        network=SimpleNamespace(batch_size=64),
        ptychography=PtychographySettings(iterations=4, batches=24),
        name="mine",
    )
    weights = [folder / "weights.safetensors"]
    inputs = {"scan": [folder / "scan.npz"], "report": [folder / "report.json"]}
    inputs |= {"pretrained": weights, "finetuned": weights}
    return Job(arguments, inputs, {name: folder / file for name, file in OUTPUTS.items()}, folder / "provenance.json")


def test_a_network_that_explains_nothing_is_named_and_ptychography_delivered(tmp_path, capsys):
    _, positions, counts = user_scan.scene()
    apply(job(tmp_path, positions, counts))
    quality = json.loads((tmp_path / "quality.json").read_text())["quality"]
    (sentence,) = quality["doubts"]
    assert sentence.startswith("the network's image explains the patterns no better than no object at all: χ² is")
    assert f"warning: {sentence}\n" in capsys.readouterr().err
    assert quality["misfit_ptychography"] < 1.5
    with h5py.File(tmp_path / "phase.h5") as file:
        assert np.isfinite(file["ptychography_rad"][...]).any()


def test_a_scan_that_nothing_explains_ends_in_one_sentence(tmp_path):
    _, positions, counts = user_scan.scene()
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="ptychography does not explain the patterns that it was not fitted") as caught:
        apply(job(tmp_path, positions[order], counts))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "phase.h5").exists()


def test_ptychography_that_is_refused_is_not_delivered(tmp_path, monkeypatch):
    """The network's image is the true one."""
    fine, positions, counts = user_scan.scene()
    patches = forward.window_at(fine, positions, user_scan.N, 4).float()
    estimate = lambda counts, dose_e: patches  # noqa: E731
    monkeypatch.setattr("workflow_scripts.diffractive_imaging.apply.apply.load_estimate", lambda *rest: estimate)
    monkeypatch.setattr("workflow_scripts.diffractive_imaging.estimators.ptychography.MISFIT_LIMIT", 0.5)
    apply(job(tmp_path, positions, counts))
    quality = json.loads((tmp_path / "quality.json").read_text())["quality"]
    assert "times what counting noise gives, expected at most 0.5" in quality["doubts"][0]
    assert quality["correlation_with_ptychography"] is None
    with h5py.File(tmp_path / "phase.h5") as file:
        assert "ptychography_rad" not in file
        assert np.isfinite(file["phase_rad"][...]).any()


def test_patches_that_do_not_overlap_are_named():
    fine, positions, counts = user_scan.scene()
    light = replace(user_scan.light(), upsampling=4)
    apart = torch.tensor([0, len(positions) - 1])
    patches = forward.window_at(fine, positions[apart], user_scan.N, 1).float()
    image = phase_image(patches, Scan(counts[apart], positions[apart], False), light)
    assert image.parts == 2
    assert "falls into 2 parts" in replace(image, chi2_without_object=1e9).doubt
