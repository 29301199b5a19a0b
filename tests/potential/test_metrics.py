"""Metrics of a potential: identities, closed forms, and no reward for the outline or the scale alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from workflow_scripts.potential.evaluation.metrics import UNITS, TrueImage, column_positions_a, compare, high_pass

PIXEL_A, LIMIT_PER_A, SIDE = 0.2, 1.6, 64
SPACING_A, SHIFT_A = 3.2, (1.03, 0.87)


def lattice(shift_a=(0.0, 0.0), width_a=0.45, height=8e3):
    """Gaussian columns on a square lattice, V Å, and where they are."""
    axis = np.arange(SIDE) * PIXEL_A
    at = np.arange(-1, 6) * SPACING_A
    waves = [
        np.exp(-((axis[:, None] - at - offset - shift) ** 2) / (2 * width_a**2)).sum(axis=1)
        for offset, shift in zip(SHIFT_A, shift_a, strict=True)
    ]
    return height * np.outer(*waves)


TRUTH = TrueImage.of(lattice(), PIXEL_A, LIMIT_PER_A)
NOISE = np.random.default_rng(0).standard_normal((SIDE, SIDE))


def test_a_perfect_prediction_is_perfect_and_finite():
    found = compare(lattice(), TRUTH)
    assert set(found) == set(UNITS)
    assert found["pearson"] == pytest.approx(1) and found["pearson_highpass_1.2A"] == pytest.approx(1)
    assert found["mae_volt_angstrom"] == found["mean_bias_percent"] == found["peak_error_percent"] == 0
    assert found["column_recall"] == 1 and found["column_position_error_pm"] < 1e-6
    assert 100 < found["psnr_db_range_gt"] < np.inf


def test_zeros_err_by_everything():
    found = compare(np.zeros((SIDE, SIDE)), TRUTH)
    assert found["pearson"] == found["pearson_highpass_1.2A"] == found["column_recall"] == 0
    assert found["mean_bias_percent"] == -100 and found["mean_bias_abs_percent"] == 100
    assert found["peak_error_percent"] == pytest.approx(100)
    assert found["mae_volt_angstrom"] == pytest.approx(TRUTH.potential.mean())
    assert found["column_position_error_pm"] == pytest.approx(50 * SPACING_A, rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 3), offset=st.floats(-1e4, 1e4), noise=st.floats(1, 1e4))
def test_the_two_psnr_differ_by_the_ranges_alone(scale, offset, noise):
    found = compare(scale * TRUTH.potential + offset + noise * NOISE, TRUTH)
    difference = found["psnr_db_range_600000"] - found["psnr_db_range_gt"]
    assert difference == pytest.approx(20 * np.log10(6e5 / TRUTH.potential.max()), abs=1e-9)


def test_psnr_and_mae_of_a_known_error():
    found = compare(TRUTH.potential + 600.0, TRUTH)
    assert found["psnr_db_range_600000"] == pytest.approx(60)
    assert found["mae_volt_angstrom"] == pytest.approx(600)
    assert found["mean_bias_percent"] == pytest.approx(100 * 600 / TRUTH.potential.mean())


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.1, 10), offset=st.floats(-1e4, 1e4))
def test_correlations_know_no_scale_and_no_offset(scale, offset):
    wrong = TRUTH.potential + 2e3 * NOISE
    first, second = compare(wrong, TRUTH), compare(scale * wrong + offset, TRUTH)
    for metric in ("pearson", "pearson_highpass_1.2A"):
        assert first[metric] == pytest.approx(second[metric], abs=1e-6)


def test_an_outline_earns_pearson_but_no_detail():
    """The truth in a box, blurred until no column is left: more than the stated 0.72, and no detail."""
    box = np.zeros((SIDE, SIDE))
    box[12:52, 12:52] = 1
    truth = TrueImage.of(lattice(width_a=0.8) * box, PIXEL_A, LIMIT_PER_A)
    found = compare(gaussian_filter(truth.potential, 2.5 / PIXEL_A / 2), truth)
    assert found["pearson"] > 0.7
    assert found["pearson_highpass_1.2A"] < 0.1


def test_the_high_pass_keeps_short_periods_alone():
    at = (np.arange(SIDE) + 0.5)[:, None] * PIXEL_A * np.ones(SIDE)
    length = SIDE * PIXEL_A
    long, short = (np.cos(np.pi * n * at / length) for n in (12, 30))  # periods of 2.13 and 0.85 Å
    assert np.allclose(high_pass(5 + long + short, PIXEL_A, 1.2), short, atol=1e-9)


@pytest.mark.parametrize("shift_a", [(0.1, 0.0), (-0.13, 0.2)])
def test_a_shift_is_the_error_of_the_columns(shift_a):
    """To a hundredth of a pixel, though the shift is no multiple of one."""
    found = compare(lattice(shift_a), TRUTH)
    assert found["column_recall"] == 1
    assert found["column_position_error_pm"] == pytest.approx(100 * np.hypot(*shift_a), abs=0.02 * 20)


def test_columns_are_where_they_were_put():
    columns = column_positions_a(lattice(), PIXEL_A, LIMIT_PER_A)
    assert len(columns) == 16
    for axis in (0, 1):
        distance = (columns[:, axis] - SHIFT_A[axis] + SPACING_A / 2) % SPACING_A - SPACING_A / 2
        assert np.abs(distance).max() < 0.01 * PIXEL_A * 5


def test_columns_that_a_prediction_lacks_count_as_missed():
    half = lattice()
    half[: SIDE // 2] = 0
    found = compare(half, TRUTH)
    assert 0.4 < found["column_recall"] < 0.6
    assert found["column_position_error_pm"] <= 50 * SPACING_A * 1.001


def test_half_a_lattice_period_off_is_no_column_found():
    found = compare(lattice((SPACING_A / 2, SPACING_A / 2)), TRUTH)
    assert found["column_recall"] == 0
    assert found["pearson"] < 0


def test_a_truth_without_columns_or_potential():
    smooth = TrueImage.of(np.full((SIDE, SIDE), 5.0), PIXEL_A, LIMIT_PER_A)
    assert np.isnan(compare(NOISE, smooth)["column_recall"])
    with pytest.raises(ValueError, match="positive"):
        TrueImage.of(np.zeros((SIDE, SIDE)), PIXEL_A, LIMIT_PER_A)
