"""Every distance against what is known of it: sorting in one dimension, Gaussians, permuted copies."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from workflow_scripts.matching.networks.losses import (
    circular,
    highest_direction,
    power_1d,
    spread_directions,
    uniform_directions,
    wasserstein,
)

KINDS = ("sliced", "generalised", "max_sliced", "distributional")
LINEAR = ("sliced", "max_sliced", "distributional")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(count, dimensions, seed):
    return torch.randn(count, dimensions, generator=seeded(seed), dtype=torch.float64)


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_sorting_in_one_dimension_is_the_distance(count, seed):
    first, second = drawn(count, 1, seed), 2 * drawn(count, 1, seed + 1) + 0.5
    # Of sets of equal size W_2² is the least cost of all assignments
    cost = (first - second.T).square().numpy()
    assert float(power_1d(first, second)) == pytest.approx(cost[linear_sum_assignment(cost)].mean())


@pytest.mark.parametrize("kind", LINEAR)
def test_linear_kinds_of_one_dimension_are_the_sorted_closed_form(kind):
    first, second = drawn(50, 1, 0), 3 * drawn(50, 1, 1) - 1
    expected = (first.sort(dim=0).values - second.sort(dim=0).values).square().mean().sqrt()
    assert float(wasserstein(kind, first, second, 8, seeded())) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_permuted_copy_is_at_distance_zero(kind):
    first = drawn(64, 12, 0)
    second = first[torch.randperm(64, generator=seeded(1))]
    assert float(wasserstein(kind, first, second, 32, seeded())) < 1e-5
    assert float(wasserstein(kind, first, second + 1, 32, seeded())) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_distance_has_the_unit_of_the_features_and_ignores_the_size_of_the_set(kind):
    first, second = drawn(40, 6, 0), drawn(40, 6, 1) + 1
    once = float(wasserstein(kind, first, second, 32, seeded()))
    assert float(wasserstein(kind, 7 * first, 7 * second, 32, seeded())) == pytest.approx(7 * once, rel=1e-3)
    twice = wasserstein(kind, first.repeat(2, 1), second.repeat(2, 1), 32, seeded())
    assert float(twice) == pytest.approx(once, rel=1e-3)


def test_sliced_distance_of_shifted_sets():
    """Sets that differ by a shift m alone: W_2 along θ is |θ·m|, whose mean square is |m|² / D."""
    first, shift = drawn(30, 8, 0), torch.linspace(-1, 2, 8).double()
    distance = wasserstein("sliced", first, first + shift, 20000, seeded())
    assert float(distance) == pytest.approx(float(shift.norm()) / math.sqrt(8), rel=0.02)


def test_sliced_distance_of_gaussians():
    """N(0, a²) and N(m, b²), isotropic: the square is |m|² / D + (a − b)²."""
    first = drawn(20000, 4, 0)
    second = 2.5 * drawn(20000, 4, 1)
    second[:, 0] += 1.0
    distance = wasserstein("sliced", first, second, 400, seeded())
    assert float(distance) == pytest.approx(math.sqrt(1 / 4 + 1.5**2), rel=0.02)


def test_max_sliced_distance_of_gaussians():
    """Of equal covariance: the distance of the means. Of equal means: the largest difference of the standard
    deviations along one direction, here along an axis that none of the random directions hits."""
    first, second = drawn(4000, 16, 0), drawn(4000, 16, 1)
    second[:, 3] += 2.0
    assert float(wasserstein("max_sliced", first, second, 4, seeded())) == pytest.approx(2.0, rel=0.05)
    second = drawn(4000, 16, 2)
    second[:, 5] *= 4
    assert float(wasserstein("max_sliced", first, second, 4, seeded())) == pytest.approx(3.0, rel=0.08)
    direction = highest_direction(first, second, uniform_directions(4, 16, seeded()).double())
    assert float(direction[5].abs()) > 0.98


def test_max_sliced_is_the_largest_and_distributional_lies_between():
    first, second = drawn(300, 10, 0), drawn(300, 10, 1)
    second[:, 0] += 1.5
    sliced, between, largest = (
        float(wasserstein(kind, first, second, 64, seeded())) for kind in ("sliced", "distributional", "max_sliced")
    )
    assert sliced < between < largest


def test_the_distribution_of_directions_does_not_collapse():
    first, second = drawn(300, 10, 0), drawn(300, 10, 1)
    second[:, 0] += 1.5
    spread = spread_directions(first.float(), second.float(), uniform_directions(64, 10, seeded()))
    assert torch.allclose(spread.norm(dim=1), torch.ones(64))
    assert float((spread @ spread.T).abs().mean()) < 0.8


def test_the_circular_function_is_a_distance_from_a_sphere_of_points():
    first, second, directions = drawn(20, 3, 0), drawn(20, 3, 1), uniform_directions(5, 3, seeded()).double()
    radius = torch.cat([first, second]).square().sum(dim=1).mean().sqrt()
    distances, _ = circular(first, second, directions)
    assert torch.allclose(distances, torch.cdist(first, radius * directions), atol=1e-6)


@pytest.mark.parametrize("paired", [True, False])
def test_the_recipe_s_max_sliced_compares_rows_in_their_order(paired):
    """The fault, present and absent: an axis of length 1 is sorted, so that a permuted copy is far away."""
    first = drawn(64, 12, 0)
    second = first[torch.randperm(64, generator=seeded(1))]
    distance = float(wasserstein("max_sliced", first, second, 32, seeded(), paired=paired))
    assert (distance > 0.5) == paired
    assert float(wasserstein("max_sliced", first, first, 32, seeded(), paired=paired)) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_lead_one_set_to_the_other_and_are_finite_where_they_meet(kind):
    first, second = drawn(64, 6, 0).float(), drawn(64, 6, 1).float() + 1
    moving = first.clone().requires_grad_()
    before = wasserstein(kind, moving, second, 32, seeded())
    (slope,) = torch.autograd.grad(before, moving)
    assert float(wasserstein(kind, first - 64 * 0.05 * slope, second, 32, seeded())) < float(before.detach())
    (slope,) = torch.autograd.grad(wasserstein(kind, moving, first, 32, seeded()), moving)
    assert torch.isfinite(slope).all()
