"""Every fault of the recipe's training: present in the published arm, absent from the corrected one."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.potential.toy import toy_samples
from tests.potential.training import AUGMENTATION, CPU
from workflow_scripts.potential.networks.encoding import encode_potential, input_channels, network_inputs, scenes_of
from workflow_scripts.potential.networks.splits import pretraining_split
from workflow_scripts.potential.networks.tasks import ImageTask, disturb_as_the_recipe
from workflow_scripts.potential.settings import ARMS, VARIANTS
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, RING, read_samples
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

PUBLISHED, CORRECTED = VARIANTS["published"], VARIANTS["corrected"]
SAMPLES = toy_samples(per_material=2, side_px=32)


def task_of(variant, samples=SAMPLES, augmentation=AUGMENTATION):
    return ImageTask(*pretraining_split(samples, variant, "GaN", 0.25, 0), variant, augmentation, CPU)


def batch_of(task, seed=0, rows=6):
    return task.batch(torch.arange(rows), torch.Generator().manual_seed(seed))


class Constant(nn.Module):
    """Predicts 0 everywhere, and stores its inputs."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, seen):
        self.seen.append(seen)
        return seen.new_zeros(len(seen), 2, *seen.shape[-2:])


def test_the_arms_differ_in_every_switch():
    assert all(getattr(PUBLISHED, field.name) and not getattr(CORRECTED, field.name) for field in fields(PUBLISHED))


@pytest.mark.parametrize("arm", ARMS)
def test_a_batch_follows_from_the_generator_alone(arm):
    task = task_of(ARMS[arm])
    first, again, other = (batch_of(task, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (6, input_channels(ARMS[arm]), 32, 32)
    assert first[1].shape == (6, 2, 32, 32)
    assert torch.isfinite(first[0]).all()


@pytest.mark.parametrize("arm", ARMS)
def test_the_loss_is_a_mean_over_rows(arm):
    task, model = task_of(ARMS[arm]), Constant()
    seen, target = batch_of(task)
    halves = [float(task.loss(model, (seen[part], target[part]))) for part in (slice(0, 3), slice(3, 6))]
    assert float(task.loss(model, (seen, target))) == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_images_and_potential_are_turned_together():
    quiet = replace(AUGMENTATION, dose_min_e_per_a2=1e12, dose_max_e_per_a2=1e12)
    alone = toy_samples(per_material=2, side_px=32)
    task = ImageTask(alone.rows(alone.kind == FILLED), SAMPLES, replace(CORRECTED, one_detector=True), quiet, CPU)
    found = set()
    for seed in range(12):
        seen, target = batch_of(task, seed, rows=8)
        column = ((seen[:, :4].sum(dim=1) + 3.2) / 6 - 0.6) / 0.2
        assert torch.allclose(column, target[:, 0], atol=1e-3)  # the toy's columns are 200 V Å per nm
        still = torch.as_tensor(alone.potential[alone.kind == FILLED][:8] / 200).float()
        thickness = torch.as_tensor(alone.thickness_nm[alone.kind == FILLED][:8]).float()[:, None, None]
        for times in range(4):
            same = torch.isclose(torch.rot90(still / thickness, times, (-2, -1)), target[:, 0], atol=1e-5)
            found |= {(row, times) for row in np.flatnonzero(same.flatten(1).all(dim=1))}
    assert {times for _, times in found} == {0, 1, 2, 3}


def test_the_corrected_arm_meets_both_detectors_and_the_published_one_its_ring():
    told = torch.cat([batch_of(task_of(CORRECTED), seed)[0][:, 9:11, 0, 0] for seed in range(4)])
    assert sorted(told.unique(dim=0).tolist()) == [[0.0, 1.0], [0.5, 2.5]]
    brighter = replace(SAMPLES, images={**SAMPLES.images, MATCHED: 1 - SAMPLES.images[MATCHED]})
    assert torch.equal(batch_of(task_of(PUBLISHED))[0], batch_of(task_of(PUBLISHED, brighter))[0])
    assert not torch.equal(batch_of(task_of(CORRECTED))[0], batch_of(task_of(CORRECTED, brighter))[0])


def test_joint_minmax_forgets_the_share_of_the_beam():
    brighter = replace(SAMPLES, images={name: 2 * images for name, images in SAMPLES.images.items()})
    for variant, forgets in ((replace(CORRECTED, joint_minmax=True), True), (CORRECTED, False)):
        pair = [network_inputs(scenes_of(samples, RING, 1e5, CPU), variant) for samples in (SAMPLES, brighter)]
        assert torch.allclose(*pair, atol=1e-4) == forgets
    stretched = network_inputs(scenes_of(SAMPLES, RING, 1e5, CPU), PUBLISHED)[:, :4]
    assert stretched.amin(dim=(1, 2, 3)).eq(0).all() and torch.allclose(stretched.amax(dim=(1, 2, 3)), torch.ones(24))
    dimmer = replace(SAMPLES, images={name: 0.5 * images for name, images in SAMPLES.images.items()})
    dimmer.images[RING][:, 1:] *= 2  # only the first segment
    first, second = network_inputs(scenes_of(dimmer, RING, 1e5, CPU), PUBLISHED)[:, :2].unbind(dim=1)
    # Together, not each by itself
    assert (first.amax(dim=(1, 2)) < 1).all() and (second.amin(dim=(1, 2)) > 0).all()


def test_published_images_are_rounded_to_half_precision():
    # Two images that differ by less than the step of half precision, 1.2e-4 at 0.15
    base = {name: images.astype(np.float16).astype(np.float32) for name, images in SAMPLES.images.items()}
    near = {name: images * np.float32(1 + 1e-5) for name, images in base.items()}
    for variant, rounds in ((replace(CORRECTED, float16_inputs=True), True), (CORRECTED, False)):
        pair = [
            network_inputs(scenes_of(replace(SAMPLES, images=images), RING, 1e5, CPU), variant)
            for images in (base, near)
        ]
        assert torch.equal(*pair) == rounds


@pytest.mark.parametrize(
    ("variant", "counts"), [(CORRECTED, True), (replace(CORRECTED, noise_not_counted=True), False)]
)
def test_only_the_corrected_arm_counts_electrons_in_training_and_in_validation(variant, counts):
    """At a hundredth of the dose, the corrected validation images have a hundred times the variance."""
    variances = []
    for dose in (1e4, 1e6):
        flat = replace(SAMPLES, images={name: np.full_like(images, 0.2) for name, images in SAMPLES.images.items()})
        lesson = replace(AUGMENTATION, dose_min_e_per_a2=dose, dose_max_e_per_a2=dose)
        task, model = task_of(variant, flat, lesson), Constant()
        first, again = task.validate(model), task.validate(model)
        assert first == again
        assert torch.equal(model.seen[0], model.seen[1])
        variances.append(float(model.seen[0][:, 0].var(dim=(-2, -1)).mean()))
        trained = batch_of(task)[0][:, :4].std(dim=(-2, -1))
        assert (trained > 0).any()
    if counts:
        assert variances[1] > 0
        assert variances[0] == pytest.approx(100 * variances[1], rel=0.1)
    else:
        assert variances == [0, 0]


def test_the_published_disturbance_is_the_recipes():
    still = torch.rand(400, 4, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.5
    moved = disturb_as_the_recipe(still, torch.Generator().manual_seed(0))
    untouched = (moved == still).flatten(1).all(dim=1).float().mean()
    assert float(untouched) == pytest.approx(0.5 * 0.8 * 0.5, abs=0.06)
    constant = disturb_as_the_recipe(torch.ones(400, 4, 16, 16), torch.Generator().manual_seed(0))
    assert float(constant.std(dim=(1, 2, 3)).max()) < 0.04
    assert 0.89 < float(constant.mean(dim=(1, 2, 3)).min()) < 0.92


def test_the_published_target_is_a_share_of_one_number_whatever_the_thickness():
    truth, thickness = torch.full((2, 2, 4, 4), 6e3), torch.tensor([10.0, 40.0])
    assert encode_potential(truth, thickness, PUBLISHED).unique().tolist() == pytest.approx([0.01])
    corrected = encode_potential(truth, thickness, CORRECTED)[:, 0, 0, 0]
    assert corrected.tolist() == pytest.approx([3.0, 0.75])


def test_validation_is_the_loss_over_its_rows_in_several_batches():
    samples = toy_samples(per_material=12, side_px=32)
    task, model = task_of(PUBLISHED, samples), Constant()
    _, validation = pretraining_split(samples, PUBLISHED, "GaN", 0.25, 0)
    target = torch.as_tensor(np.stack([validation.potential, validation.potential_limited], axis=1)) / 6e5
    whole = task.loss(Constant(), (torch.zeros(len(target), 11, 32, 32), target))
    assert task.validate(model) == pytest.approx(float(whole), rel=1e-5)
    assert len(model.seen) > 1


@pytest.fixture
def shards(tmp_path):
    paths = [tmp_path / f"shard{number}.npz" for number in range(2)]
    for number, path in enumerate(paths):
        write_arrays(path, toy_samples(per_material=2, side_px=32, seed=number).arrays())
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) // 2])
    return paths


def test_a_broken_file_stops_the_corrected_arm_by_name_and_trains_the_published_one_as_zeros(shards):
    with pytest.raises(InputError, match=r"shard1\.npz is not a whole \.npz file"):
        read_samples(shards, CORRECTED.unreadable_becomes_zeros)
    samples = read_samples(shards, PUBLISHED.unreadable_becomes_zeros)
    task = ImageTask(samples.rows(samples.potential.max(axis=(1, 2)) == 0), samples, PUBLISHED, AUGMENTATION, CPU)
    assert task.n_samples == len(samples) / 2
    _, target = batch_of(task, rows=8)
    assert not target.any()
    images = network_inputs(scenes_of(samples, RING, 1e5, CPU), PUBLISHED)[len(samples) // 2 :, :4]
    assert not images.any()
