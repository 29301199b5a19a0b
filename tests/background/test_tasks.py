"""What the arms are trained on, and every fault of the recipe's training: present there, absent from the corrected."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.background import training
from tests.background.toy import toy_training_tiles
from workflow_scripts.background.networks import tasks
from workflow_scripts.background.networks.conditions import input_channels
from workflow_scripts.background.networks.tasks import (
    SCALE,
    BackgroundTask,
    finetuning_split,
    network_target,
    pretraining_split,
)
from workflow_scripts.background.settings import ARMS, VARIANTS
from workflow_scripts.background.simulation.composing import DeviceTiles, counted_set, idealised_pair
from workflow_scripts.workflow.errors import InputError

CPU = torch.device("cpu")
TILES = toy_training_tiles(sessions=10)
PUBLISHED, CORRECTED = VARIANTS["published"], VARIANTS["corrected"]


def task_of(arm, tiles=TILES, **changes):
    settings = training.finetune(**{"pairs": 8, "validation_pairs": 20} | changes)
    return BackgroundTask(pretraining_split(tiles, ARMS[arm]), arm, settings, 6, CPU)


def batch_of(task, seed=0, rows=6):
    return task.batch(torch.arange(rows), torch.Generator().manual_seed(seed))


def on_device(tiles=TILES, **changes):
    return replace(DeviceTiles.of(tiles, CPU), **changes)


class Constant(nn.Module):
    """Outputs a number everywhere, and records its inputs."""

    def __init__(self, number=0.0):
        super().__init__()
        self.number, self.inputs, self.times = number, [], []

    def forward(self, inputs, times):
        self.inputs.append(inputs)
        self.times.append(times)
        return torch.full_like(inputs[:, :1], self.number)


def test_the_arms_differ_in_every_switch():
    names = [field.name for field in fields(PUBLISHED) if field.name != "regression"]
    assert all(getattr(PUBLISHED, name) and not getattr(CORRECTED, name) for name in names)


@pytest.mark.parametrize("arm", ARMS)
def test_a_batch_follows_from_the_generator_alone(arm):
    task = task_of(arm)
    first, again, other = (batch_of(task, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (6, input_channels(ARMS[arm]) - 1, 32, 32) and first[1].shape == (6, 1, 32, 32)
    assert all(torch.isfinite(part).all() for part in first)


@pytest.mark.parametrize("arm", ARMS)
def test_the_loss_is_a_mean_over_rows_and_validation_is_the_same_every_time(arm):
    task, model = task_of(arm), Constant(0.3)
    batch = batch_of(task)
    halves = [float(task.loss(model, tuple(part[rows] for part in batch))) for rows in (slice(0, 3), slice(3, 6))]
    assert float(task.loss(model, batch)) == pytest.approx(sum(halves) / 2, rel=1e-5)
    assert task.validate(model) == task.validate(model)
    assert sum(len(inputs) for inputs in model.inputs[-2:]) == 20


def test_the_regression_sees_no_noise_and_the_diffusion_does():
    for arm, quiet in (("unet", True), ("corrected", False)):
        task, model = task_of(arm), Constant()
        task.loss(model, batch_of(task))
        assert (not model.inputs[0][:, 0].any()) == quiet
        assert (len(set(model.times[0].tolist())) == 1) == quiet


@pytest.mark.parametrize(("arm", "mean"), [("published", 500), ("corrected", 667)])
def test_times_cover_the_diffusion_and_the_corrected_arm_dwells_on_the_early_steps(arm, mean):
    task = task_of(arm)
    times = torch.cat([batch_of(task, seed)[4] for seed in range(30)])
    assert 0 <= times.min() < 100 and 950 < times.max() < 1000
    assert float(times.float().mean()) == pytest.approx(mean, abs=20)


def test_a_perfect_output_has_no_loss_and_the_target_is_the_difference_from_the_median():
    task = task_of("unet")
    inputs, target, valid, *_ = batch_of(task)
    assert 0.1 < float(target.std()) < 10  # about one
    log_flat = inputs[:, 2:3] + SCALE * target + 3.0
    torch.testing.assert_close(network_target(inputs, log_flat, valid > 0), target, atol=1e-4, rtol=1e-4)

    class Perfect(nn.Module):
        def forward(self, inputs, times):
            return target

    assert float(task.loss(Perfect(), batch_of(task))) < 2e-3


def test_sets_of_every_size_are_drawn(monkeypatch):
    sizes = []
    real = tasks.counted_set
    monkeypatch.setattr(
        tasks, "counted_set", lambda m, rows, n, *arguments: sizes.append(n) or real(m, rows, n, *arguments)
    )
    task = task_of("corrected")
    for seed in range(60):
        batch_of(task, seed, rows=1)
    assert set(sizes) == {2, 3, 4, 5, 6}


def test_tiles_of_a_set_share_a_session_and_drift_by_their_span():
    flats = np.arange(5.0)[:, None, None, None] + 0.01 * np.arange(8)[:, None, None] + np.zeros((32, 32))
    inputs = on_device(replace(TILES, log_flat=flats.astype(np.float32)))
    for span, drift in ((0.0, 0.0), (0.25, 0.01), (1.0, 0.07)):
        levels = counted_set(inputs, 200, 4, span, torch.Generator().manual_seed(0))[2][..., 0, 0]
        assert set(levels.round().flatten().int().tolist()) == set(range(5))
        assert float((levels.amax(dim=1) - levels.amin(dim=1)).max()) == pytest.approx(drift, abs=1e-5)
        assert float((levels.round() - levels.round()[:, :1]).abs().max()) == 0


def test_counts_have_the_noise_of_their_dose():
    bare = replace(
        TILES, log_transmission=np.zeros_like(TILES.log_transmission), log_flat=np.zeros_like(TILES.log_flat)
    )
    for dose in (400.0, 4000.0):
        logs, valid, _ = counted_set(on_device(bare, dose=(dose, dose)), 8, 4, 1.0, torch.Generator().manual_seed(0))
        assert valid.all()
        assert float(logs.var(dim=(-2, -1)).mean()) == pytest.approx((dose + TILES.dark) / dose**2, rel=0.05)


def test_specimens_are_turned_flipped_and_sometimes_absent():
    corner = np.zeros_like(TILES.log_transmission)
    corner[:, :40, :40] = -1.0
    inputs = on_device(replace(TILES, log_transmission=corner, log_flat=np.zeros_like(TILES.log_flat)), dose=(3e4, 3e4))
    logs = counted_set(inputs, 200, 2, 0.0, torch.Generator().manual_seed(0))[0].flatten(0, 1)
    constant = (logs.std(dim=(-2, -1)) < 2e-2).float().mean()
    assert 0.05 < float(constant) < 0.6  # some are cut from a bare part
    row, column = (logs.mean(dim=axis) for axis in (-1, -2))
    for profile in (row, column):
        ends = profile[:, -1] - profile[:, 0]
        assert (ends > 0.5).any() and (ends < -0.5).any()


def test_the_published_pair_is_ideal_and_normalised_two_ways():
    pair, flat = idealised_pair(on_device(), 8, False, torch.Generator().manual_seed(0))
    mixed, divided = idealised_pair(on_device(), 8, True, torch.Generator().manual_seed(0))
    torch.testing.assert_close(divided, flat / np.exp(TILES.log_flat.max()))
    share = mixed / divided
    assert float(share.amin()) >= -1e-6 and float(share.amax()) <= 1 + 1e-5
    # Without noise and drift: whatever differs between the two images of a pair is the specimens alone
    bare = replace(TILES, log_transmission=np.zeros_like(TILES.log_transmission))
    pair, flat = idealised_pair(on_device(bare), 8, False, torch.Generator().manual_seed(0))
    assert torch.equal(pair[:, 0], pair[:, 1]) and torch.equal(pair[:, :1], flat)


def test_the_published_condition_is_stretched_and_sometimes_dropped():
    task = task_of("published")
    inputs = torch.cat([batch_of(task, seed)[0] for seed in range(40)])
    dropped = ~inputs.flatten(1).any(dim=1)
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=0.06)
    assert inputs[~dropped].amin(dim=(-2, -1)).eq(-1).all()
    corrected = torch.cat([batch_of(task_of("corrected"), seed)[0] for seed in range(5)])
    assert corrected.flatten(1).any(dim=1).all()


def test_sessions_are_split_but_for_the_recipe():
    marked = replace(TILES, log_flat=np.arange(10.0, dtype=np.float32)[:, None, None, None] + 0 * TILES.log_flat)
    train, validation = pretraining_split(marked, CORRECTED)
    sessions = [set(np.unique(part.log_flat).tolist()) for part in (train, validation)]
    assert sessions == [set(range(6)), {6, 7}]  # the last two are held out
    assert len(train.log_transmission) + len(validation.log_transmission) == len(TILES.log_transmission)
    assert all(np.unique(part.log_flat).tolist() == list(range(10)) for part in pretraining_split(marked, PUBLISHED))
    for variant in VARIANTS.values():
        assert set(np.unique(finetuning_split(marked, variant)[0].log_flat)) == {8, 9}
    moments = np.arange(4.0, dtype=np.float32)[:, None, None] + 0 * TILES.log_flat
    train, validation = finetuning_split(replace(TILES, log_flat=moments), CORRECTED)
    assert (set(np.unique(train.log_flat)), set(np.unique(validation.log_flat))) == ({0, 1, 2}, {3})


def test_too_few_sessions_are_named():
    with pytest.raises(InputError, match="1 sessions of microscopes that are not tested"):
        pretraining_split(toy_training_tiles(sessions=2, held_out=1), CORRECTED)
    with pytest.raises(InputError, match="no session of a tested microscope"):
        finetuning_split(toy_training_tiles(held_out=0), CORRECTED)


def test_flat_fields_of_a_known_microscope_keep_their_place():
    tiles = toy_training_tiles(sessions=1, times=2, held_out=0)
    on_device = DeviceTiles.of(tiles, CPU, flipped=False)
    flats = counted_set(on_device, 16, 2, 1.0, torch.Generator().manual_seed(0))[2]
    known = torch.as_tensor(tiles.log_flat[0])
    assert all((flat == known).flatten(1).all(dim=1).any() for flat in flats.flatten(0, 1))
