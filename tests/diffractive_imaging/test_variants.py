"""Every fault of the recipe: present in the published arm, absent from the corrected one."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.diffractive_imaging import settings
from workflow_scripts.diffractive_imaging.networks import imaging
from workflow_scripts.diffractive_imaging.networks.pattern_task import PatternTask, read_examples
from workflow_scripts.diffractive_imaging.settings import VARIANTS
from workflow_scripts.diffractive_imaging.simulation import datasets, forward
from workflow_scripts.diffractive_imaging.simulation.sources import photographs
from workflow_scripts.workflow.files import write_arrays

PUBLISHED, CORRECTED = VARIANTS["published"], VARIANTS["corrected"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    synthesize = settings.synthesize()
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    files = [photographs(None, split)[:2] for split in ("train", "validation")]
    path = tmp_path_factory.mktemp("data") / "shard0.npz"
    write_arrays(path, datasets.training_set(synthesize, light, *files, np.random.default_rng(0)))
    return path


def task_of(shard, variant):
    train, validation, light = read_examples([shard], variant, seed=0)
    return PatternTask(train, validation, light, variant, settings.pretrain(), CPU)


def batch_of(task, seed=0):
    return task.batch(torch.arange(16), torch.Generator().manual_seed(seed))


def test_the_arms_differ_in_every_switch():
    assert all(getattr(PUBLISHED, field.name) and not getattr(CORRECTED, field.name) for field in fields(PUBLISHED))


def test_the_published_loss_sees_one_sample_of_a_batch(shard):
    class Memory(nn.Module):
        """Returns separate parameters for each row, so that gradients show which rows count."""

        def __init__(self):
            super().__init__()
            self.rows = nn.Parameter(torch.zeros(16, 32, 32))

        def forward(self, patterns):
            return self.rows

    counted = {}
    for name, variant in VARIANTS.items():
        task, model = task_of(shard, variant), Memory()
        task.loss(model, batch_of(task)).backward()
        counted[name] = int(model.rows.grad.abs().sum(dim=(1, 2)).bool().sum())
    assert counted == {"published": 1, "corrected": 16}


def test_the_published_target_keeps_its_mean(shard):
    task = task_of(shard, CORRECTED)
    mask = forward.patch_mask(datasets.Illumination.read(shard).probe)
    means = {
        name: batch_of(task_of(shard, variant))[1][:, mask].mean(dim=1).abs().max()
        for name, variant in VARIANTS.items()
    }
    assert means["corrected"] < 1e-5
    assert means["published"] > 0.1
    assert task.n_samples > 0


def test_the_published_noise_is_drawn_once_and_depends_on_the_dose(shard):
    first, second = (batch_of(task_of(shard, PUBLISHED), seed)[0] for seed in (1, 2))
    assert torch.equal(first, second)
    first, second = (batch_of(task_of(shard, CORRECTED), seed)[0] for seed in (1, 2))
    assert not torch.equal(first, second)
    counts = torch.full((1, 4, 4), 9.0)
    assert torch.equal(forward.network_input(counts, None), 3 * torch.ones(1, 4, 4))
    assert torch.allclose(forward.network_input(counts, 144.0), forward.network_input(100 * counts, 14400.0))


def test_the_published_split_puts_photographs_on_both_sides(shard):
    by_sample = replace(CORRECTED, validation_split_by_sample=True)
    ours, theirs = (read_examples([shard], variant, seed=0) for variant in (CORRECTED, by_sample))
    assert [len(part) for part in ours[:2]] == [len(part) for part in theirs[:2]]
    held_out = {tuple(row) for row in ours[1].tensors[2][:, 16].tolist()}
    shared = held_out & {tuple(row) for row in theirs[1].tensors[2][:, 16].tolist()}
    assert len(shared) < len(held_out)


@pytest.fixture(scope="module")
def perfect():
    """Perfect patches of a smooth object on a raster, and the illumination."""
    synthesize = settings.synthesize()
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    positions, side = datasets.raster(40, 0.87, 0.05, 8, np.random.default_rng(0))
    y, x = torch.meshgrid(torch.arange(4 * side) / 4, torch.arange(4 * side) / 4, indexing="ij")
    fine = torch.sin(2 * torch.pi * x / 30) + 0.3 * torch.sin(2 * torch.pi * y / 7)
    return light, fine, positions, forward.window_at(fine, positions, 32, 1).float()


def rmse(stitched, fine):
    image = stitched.to_object_pixels().numpy()
    top, left = stitched.origin
    truth = fine[::4, ::4][top : top + image.shape[0], left : left + image.shape[1]].numpy()
    return np.nanstd(image - truth)


def test_the_published_stitch_loses_the_long_period_and_least_squares_keeps_it(perfect):
    light, fine, positions, patches = perfect
    damped = replace(CORRECTED, damped_stitching=True)
    assert rmse(imaging.stitch(patches, positions, light, CORRECTED, 0), fine) < 0.1
    assert rmse(imaging.stitch(patches, positions, light, damped, 0), fine) > 0.5


@pytest.mark.parametrize("transposed", [False, True])
def test_the_published_axes_are_right_only_for_a_transposed_detector(perfect, transposed):
    light, fine, positions, patches = perfect
    exchanged = replace(CORRECTED, axes_exchanged=True)
    # A transposed detector gives a transposed patch where the pattern is not transposed back.
    for variant, expected in ((CORRECTED, True), (exchanged, transposed)):
        exchange = transposed and variant.axes_exchanged
        recorded = patches.transpose(-2, -1) if exchange else patches
        good = rmse(imaging.stitch(recorded, positions, light, variant, 0), fine) < 0.1
        assert good == expected


def test_only_the_corrected_arm_transposes_the_patterns_of_a_transposed_detector():
    counts = torch.arange(32.0).reshape(2, 4, 4)
    transposed, straight = (datasets.Scan(counts, torch.zeros(2, 2), flag) for flag in (True, False))
    assert torch.equal(imaging.oriented(transposed, CORRECTED), counts.transpose(-2, -1))
    assert torch.equal(imaging.oriented(straight, CORRECTED), counts)
    assert torch.equal(imaging.oriented(transposed, PUBLISHED), counts)
