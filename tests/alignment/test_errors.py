"""Errors that an offset, a wrap, a symmetry or a shifted reference must not change, and chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.alignment.evaluation.metrics import (
    STATISTICS,
    circular_median,
    recipe_error_deg,
    rotation_error_deg,
    shift_error_px,
    symmetry_period_deg,
)


@given(st.floats(-720, 720), st.sampled_from([360.0, 180.0, 360 / 7]), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_one_offset_and_whole_periods_cost_nothing(offset, period, seed):
    random = np.random.default_rng(seed)
    true = random.uniform(0, 360, 50)
    estimate = true + offset + period * random.integers(-2, 3, 50)
    assert rotation_error_deg(estimate, true, period).max() < 1e-6


def test_the_error_of_a_gaussian_estimator_is_its_own_near_the_wrap_too():
    """σ = 5° is a mean error of 3.99°; an error that looks at r − t and r − t ± 180 alone reports more."""
    random = np.random.default_rng(0)
    true = random.uniform(0, 180, 4000)
    estimate = (true + 5 * random.standard_normal(true.size)) % 180
    assert rotation_error_deg(estimate, true, 180.0, relative=True).mean() == pytest.approx(3.99, abs=0.15)
    assert rotation_error_deg((estimate + 77) % 180, true, 180.0).mean() == pytest.approx(3.99, abs=0.15)


def test_relative_angles_have_no_offset_to_take_away():
    assert rotation_error_deg(np.array([10.0, 20.0]), np.zeros(2), relative=True).tolist() == [10, 20]


@pytest.mark.parametrize("period", [360.0, 180.0, 45.0])
def test_chance_is_a_quarter_of_the_period(period):
    random = np.random.default_rng(1)
    error = rotation_error_deg(random.uniform(0, 360, 4000), random.uniform(0, 360, 4000), period)
    assert error.mean() == pytest.approx(period / 4, rel=0.04)


def test_circular_statistics_across_the_wrap():
    angles = np.array([179.0, 1.0, 0.5, 178.0, 2.0])
    assert circular_median(angles, 180) == 0.5


def test_the_period_of_a_symmetric_particle():
    assert symmetry_period_deg(7) == pytest.approx(360 / 7)
    assert symmetry_period_deg(7, spectrum=True) == pytest.approx(180 / 7)
    assert symmetry_period_deg(4, spectrum=True) == 90
    assert symmetry_period_deg(1, spectrum=True) == 180


def test_a_reference_off_its_centre_costs_no_shift():
    random = np.random.default_rng(2)
    angle, true = random.uniform(0, 360, 100), random.uniform(-10, 10, (100, 2))
    radians = np.deg2rad(angle)
    # The offset (y, x) = (2, -1) rotated from +x towards +y.
    rotated_offset = np.stack([-np.sin(radians) + 2 * np.cos(radians), -np.cos(radians) - 2 * np.sin(radians)], axis=1)
    assert shift_error_px(angle, true + rotated_offset, true).max() < 1e-9
    assert np.median(shift_error_px(-angle, true + rotated_offset, true)) > 1
    assert shift_error_px(angle, true + np.array([3.0, 4.0]), true).mean() == pytest.approx(5, rel=0.2)


def test_the_statistics():
    assert [statistic(np.arange(11.0)) for statistic in STATISTICS.values()] == [5.0, 5.0, 9.0]


def test_the_recipes_report_flatters_an_offset_and_punishes_wraps():
    true = np.linspace(0, 179, 64)
    assert recipe_error_deg(true + 30, true) == pytest.approx(0)  # an estimator that is off by 30° is called perfect
    estimate = np.where(true > 170, true - 180, true)  # the same angles, written otherwise
    assert rotation_error_deg(estimate, true, 180.0, relative=True) == pytest.approx(0, abs=1e-6)
    assert recipe_error_deg(estimate, true).mean() > 3
