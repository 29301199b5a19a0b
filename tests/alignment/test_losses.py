import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.alignment.networks.losses import (
    circular_error_deg,
    correlation_loss,
    error_near_wraps_deg,
    outside_deg,
)

ANGLE = st.floats(-720, 720)


@given(ANGLE, ANGLE, st.integers(-4, 4))
def test_the_circular_error_knows_no_turn_and_no_order(estimate, true, turns):
    first = circular_error_deg(torch.tensor(estimate, dtype=torch.float64), torch.tensor(true, dtype=torch.float64))
    assert 0 <= float(first) <= 90
    assert float(
        circular_error_deg(torch.tensor(true, dtype=torch.float64), torch.tensor(estimate, dtype=torch.float64))
    ) == pytest.approx(float(first), abs=1e-9)
    after_turns = circular_error_deg(
        torch.tensor(estimate + 180.0 * turns, dtype=torch.float64), torch.tensor(true, dtype=torch.float64)
    )
    assert float(after_turns) == pytest.approx(float(first), abs=1e-9)


def test_the_recipes_error_is_wrong_near_wraps():
    """An estimate of 359° where 1° is true is wrong by 2°; the recipe computes 178°."""
    estimate, true = torch.tensor([359.0, 10.0]), torch.tensor([1.0, 12.0])
    assert circular_error_deg(estimate, true).tolist() == pytest.approx([2.0, 2.0])
    assert error_near_wraps_deg(estimate, true).tolist() == pytest.approx([178.0, 2.0])


def test_a_perfect_estimator_with_an_error_of_five_degrees_is_reported_too_badly():
    """As the method page measured: wrapped answers of σ = 5° have a mean of 3.99°, the recipe's error is larger."""
    generator = torch.Generator().manual_seed(0)
    true = 180 * torch.rand(200_000, generator=generator)
    estimate = torch.remainder(true + 5 * torch.randn(200_000, generator=generator), 360)
    circular = float(circular_error_deg(estimate, true).mean())
    assert circular == pytest.approx(3.99, abs=0.03)
    assert float(error_near_wraps_deg(estimate, true).mean()) > 1.15 * circular


def test_outside_is_the_distance_from_the_range():
    assert outside_deg(torch.tensor([-5.0, 0.0, 100.0, 360.0, 372.0])).tolist() == [5.0, 0.0, 0.0, 0.0, 12.0]


@given(st.floats(0, 179.9))
def test_the_correlation_loss_is_smallest_at_the_true_angle(angle):
    places = torch.arange(180, dtype=torch.float64)
    true = torch.tensor(angle, dtype=torch.float64)

    def peaked(at):
        distance = torch.remainder(places - at + 90, 180) - 90
        return -0.5 * distance.square()

    losses = [float(correlation_loss(peaked(torch.remainder(true + off, 180)), true)) for off in (0.0, 5.0, 90.0)]
    assert losses[0] < losses[1] < losses[2]
    flat = float(correlation_loss(torch.zeros(180, dtype=torch.float64), true))
    assert flat == pytest.approx(5.193, abs=1e-3)  # ln 180


def test_the_correlation_loss_wraps_around():
    places = torch.arange(180, dtype=torch.float64)
    distance = torch.remainder(places - 179.5 + 90, 180) - 90
    near = correlation_loss(-0.5 * distance.square(), torch.tensor(0.5, dtype=torch.float64))
    far = correlation_loss(-0.5 * distance.square(), torch.tensor(100.0, dtype=torch.float64))
    assert float(near) < 5 < float(far)
