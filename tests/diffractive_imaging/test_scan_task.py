"""Finetuning on a measured scan: the loss has the size of shot noise and is smallest for the truth."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.diffractive_imaging import settings
from workflow_scripts.diffractive_imaging.networks.scan_task import ScanTask
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation import datasets, forward
from workflow_scripts.optics.diffraction import diffraction_pattern


class KnownPatches(nn.Module):
    """A "network" that looks up the patches by their inputs; the error is added to all of them."""

    def __init__(self, inputs, patches, error):
        super().__init__()
        self.table = {float(row.double().sum()): patch for row, patch in zip(inputs, patches, strict=True)}
        self.error = error

    def forward(self, inputs):
        return torch.stack([self.table[float(row.double().sum())] for row in inputs]) + self.error


@pytest.fixture(scope="module")
def scene():
    synthesize = settings.synthesize()
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    positions, side = datasets.raster(20, 0.87, 0.1, 18, np.random.default_rng(0))
    y, x = torch.meshgrid(torch.arange(4 * side) / 4, torch.arange(4 * side) / 4, indexing="ij")
    fine = 0.4 * torch.sin(2 * torch.pi * x / 9) * torch.cos(2 * torch.pi * y / 8)
    generator = torch.Generator().manual_seed(0)
    counts = forward.simulate_scan(light.probe, fine, positions, light.dose_e, generator).float()
    truth = Stitched(fine, torch.ones_like(fine), (0, 0), 4, 0)
    task = ScanTask([(truth, counts, positions)], light, 0.2, 0, torch.device("cpu"))
    patches = forward.window_at(fine, positions, 32, 1).float()
    return task, forward.network_input(counts, light.dose_e), patches


def test_the_true_patches_leave_what_the_true_object_leaves(scene):
    task, inputs, patches = scene
    counts, expected = task._counts[task._validation], scene_expectation(task)
    floor = 4 * ((expected + 0.375).sqrt() - (counts + 0.375).sqrt()).square().mean()
    assert task.validate(KnownPatches(inputs, patches, 0.0)) == pytest.approx(float(floor), rel=0.03)
    assert 0.4 < floor < 1.1  # shot noise; pixels with few counts have less than unit variance after the root


def scene_expectation(task):
    """Electrons that the true object sends to each pixel of the validation patterns."""
    phase = forward.window_at(task._surroundings, task._positions[task._validation], 32, 4)
    return task._dose_e * diffraction_pattern(task._probe.to(torch.complex64), phase)


def test_an_offset_costs_nothing_and_a_wrong_patch_costs(scene):
    task, inputs, patches = scene
    best = task.validate(KnownPatches(inputs, patches, 0.0))
    assert task.validate(KnownPatches(inputs, patches, 0.7)) == pytest.approx(best, rel=1e-4)
    tilt = 0.3 * torch.linspace(-1, 1, 32).expand(32, 32)
    assert task.validate(KnownPatches(inputs, patches, tilt)) > 1.1 * best
    for step in range(4):  # every fine pixel is asked for by one of the four moved grids along each axis
        batch = task.batch(torch.arange(8), torch.Generator().manual_seed(step))
        assert task.loss(KnownPatches(inputs, patches, tilt), batch) > task.loss(
            KnownPatches(inputs, patches, 0.0), batch
        )


def test_validation_patterns_are_not_trained_on(scene):
    task, inputs, _ = scene
    trained = task.batch(torch.arange(task.n_samples), torch.Generator().manual_seed(0))[1]
    held_out = task._counts[task._validation]
    rows = {tuple(row.flatten().tolist()) for row in trained}
    assert not any(tuple(row.flatten().tolist()) in rows for row in held_out)
    assert len(held_out) + len(trained) <= len(inputs)
