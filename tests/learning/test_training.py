"""The training loop: what it selects, refuses and replays. The resume after a kill is in test_resume.py."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.learning.tiny_training import N_STEPS, TinyTask, tiny_model, tiny_settings, train_tiny
from workflow_scripts.learning.training import (
    derived_seed,
    learning_rate_at,
    make_optimizer,
    shuffle,
)
from workflow_scripts.workflow.errors import InputError


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Scripted(TinyTask):
    """Has the losses it is told; records the weights of each validation and of each loss."""

    def __init__(self, validation_losses: list[float]) -> None:
        super().__init__()
        self.left = list(validation_losses)
        self.seen: list[dict] = []

    def validate(self, model):
        assert not model.training
        assert not torch.is_grad_enabled()
        self.seen.append({name: tensor.clone() for name, tensor in model.module.state_dict().items()})
        return self.left.pop(0)


@pytest.mark.parametrize(
    ("losses", "best"),
    [([3.0, 1.0, 2.0], 1), ([1.0, 1.0, 2.0], 0), ([3.0, 2.0, 1.0], 2), ([1.0, 2.0, 3.0], 0)],
)
def test_best_is_by_validation_and_kept_by_hand(tmp_path: Path, losses: list[float], best: int) -> None:
    task = Scripted(losses)
    trained = train_tiny(tmp_path, task=task, keep_epoch=2)
    assert equal(trained.best, task.seen[best])
    assert equal(trained.kept, task.seen[1])
    assert equal(trained.last, task.seen[2])
    assert not equal(task.seen[0], task.seen[1])
    assert [row["validation_loss"] for row in trained.history] == losses


def test_no_epoch_is_kept_unless_asked(tmp_path: Path) -> None:
    assert train_tiny(tmp_path, keep_epoch=None).kept is None


def test_it_learns_and_the_history_says_so(tmp_path: Path) -> None:
    trained = train_tiny(tmp_path, epochs=40, checkpoint_interval_s=60)
    losses = [row["validation_loss"] for row in trained.history]
    assert losses[-1] < 0.1 * losses[0]
    assert [row["epoch"] for row in trained.history] == list(range(1, 41))
    assert [row["step"] for row in trained.history] == list(range(5, 201, 5))
    assert list(trained.history[0]) == ["epoch", "step", "training_loss", "validation_loss", "learning_rate"]


def test_the_training_loss_is_the_mean_over_the_steps_of_the_epoch(tmp_path: Path) -> None:
    class Recorded(TinyTask):
        def loss(self, model, batch):
            loss = super().loss(model, batch)
            seen.append(loss.item())
            return loss

    seen: list[float] = []
    trained = train_tiny(tmp_path, task=Recorded())
    expected = [sum(seen[first : first + 5]) / 5 for first in (0, 5, 10)]
    assert [row["training_loss"] for row in trained.history] == pytest.approx(expected)


def test_the_same_seed_gives_the_same_whatever_was_drawn_before(tmp_path: Path) -> None:
    first = train_tiny(tmp_path / "a")
    torch.rand(99)
    second = train_tiny(tmp_path / "b", checkpoint_interval_s=60)
    assert first.history == second.history
    assert equal(first.last, second.last)


def test_each_epoch_trains_each_sample_once_in_another_order(tmp_path: Path) -> None:
    class Recorded(TinyTask):
        def batch(self, indices, generator):
            seen.append((indices.tolist(), generator.initial_seed()))
            return super().batch(indices, generator)

    seen: list = []
    train_tiny(tmp_path, task=Recorded())
    epochs = [[i for indices, _ in seen[first : first + 5] for i in indices] for first in (0, 5, 10)]
    assert all(len(set(epoch)) == 40 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert len({seed for _, seed in seen}) == N_STEPS  # fresh noise in every step


@given(st.integers(1, 200), st.integers(0, 2**32), st.integers(0, 1000))
def test_a_shuffle_is_a_permutation_that_depends_on_nothing_else(n: int, seed: int, epoch: int) -> None:
    order = shuffle(n, seed, epoch)
    assert order.sort().values.tolist() == list(range(n))
    assert torch.equal(order, shuffle(n, seed, epoch))


def test_derived_seeds_of_neighbours_differ() -> None:
    seeds = {derived_seed(seed, purpose, step) for seed in range(5) for purpose in range(4) for step in range(50)}
    assert len(seeds) == 1000


@given(st.integers(2, 500), st.floats(0, 0.9), st.floats(1e-6, 1))
def test_cosine_schedule_in_closed_form(n_steps: int, warmup_fraction: float, learning_rate: float) -> None:
    settings = tiny_settings(learning_rate=learning_rate, warmup_fraction=warmup_fraction)
    rates = [learning_rate_at(step, n_steps, settings) for step in range(n_steps)]
    warmup = round(warmup_fraction * n_steps)
    assert max(rates) == pytest.approx(learning_rate)
    assert rates[:warmup] == pytest.approx([learning_rate * (step + 1) / warmup for step in range(warmup)])
    decaying = n_steps - warmup
    expected = [learning_rate * math.cos(math.pi * step / (2 * decaying)) ** 2 for step in range(decaying)]
    assert rates[warmup:] == pytest.approx(expected)
    assert all(rate > 0 for rate in rates)


def test_constant_schedule_and_the_rate_that_the_optimizer_gets(tmp_path: Path) -> None:
    settings = tiny_settings(schedule="constant", warmup_fraction=0.4)
    rates = [learning_rate_at(step, 10, settings) for step in range(10)]
    assert rates == pytest.approx([0.005, 0.01, 0.015] + [0.02] * 7)
    trained = train_tiny(tmp_path)
    expected = [learning_rate_at(step, N_STEPS, tiny_settings()) for step in (4, 9, 14)]
    assert [row["learning_rate"] for row in trained.history] == expected


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_clipping_bounds_the_step_of_plain_gradient_descent(tmp_path: Path, clip: float) -> None:
    before = tiny_model().state_dict()
    plain = {"optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 0.5, "schedule": "constant"}
    trained = train_tiny(tmp_path, keep_epoch=None, epochs=1, warmup_fraction=0, gradient_clip_norm=clip, **plain)
    moved = math.sqrt(sum((trained.last[name] - before[name]).square().sum().item() for name in before))
    longest = 5 * 0.5 * 1e-3  # steps × learning rate × largest norm
    assert (moved <= longest * 1.001) == (clip > 0)


def test_the_optimizer_is_the_one_of_the_settings() -> None:
    sgd = make_optimizer(tiny_model(), tiny_settings(optimizer="sgd", momentum=0.9))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["momentum"] == 0.9
    assert sgd.defaults["weight_decay"] == 0.01
    assert isinstance(make_optimizer(tiny_model(), tiny_settings()), torch.optim.AdamW)
    with pytest.raises(ValidationError, match="adamw has none"):
        tiny_settings(momentum=0.9)


def test_a_loss_that_is_not_finite_stops_in_one_sentence(tmp_path: Path) -> None:
    class Exploding(TinyTask):
        def loss(self, model, batch):
            return super().loss(model, batch) * float("inf")

    with pytest.raises(InputError, match=r"training loss became inf in epoch 1; lower learning_rate \(now 0.02\)"):
        train_tiny(tmp_path, task=Exploding())
    assert not list(tmp_path.iterdir())  # nothing to resume such a training from
    with pytest.raises(InputError, match="validation loss became nan in epoch 2"):
        train_tiny(tmp_path, task=Scripted([1.0, math.nan, 1.0]))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 43}, "batch_size is 43, but there are 42 training samples"),
        ({"keep_epoch": 4}, "weights of epoch 4 are needed, but epochs is 3"),
        ({"keep_epoch": 0}, "weights of epoch 0 are needed"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, changes: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        train_tiny(tmp_path, **changes)


def test_frozen_parameters_are_left_out() -> None:
    model = tiny_model()
    model.layers[0].requires_grad_(False)
    optimizer = make_optimizer(model.layers, tiny_settings())
    assert [parameter.shape for parameter in optimizer.param_groups[0]["params"]] == [(1, 8), (1,)]
