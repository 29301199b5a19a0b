"""Metrics of a log flat field: an unknown constant changes none, known errors give known numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from workflow_scripts.background.evaluation.metrics import (
    METRICS,
    TrueTile,
    centred_error,
    compare,
    lit,
    true_tile,
)

SIDE = 48
RNG = np.random.default_rng(3)
GRAIN = gaussian_filter(RNG.standard_normal((SIDE, SIDE)), 1)
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE
DENSITY = np.where((X - 0.6) ** 2 + (Y - 0.5) ** 2 < 0.06, 0.8, 0.0)
LOG_FLAT = 0.5 * X + GRAIN
REGION = (0, 0, SIDE, 8)


def truth_of(log_transmission, log_flat, open_beam):
    """The truth of the only tile of the only session."""
    parts = {"log_transmission": log_transmission, "log_flat": log_flat, "open_beam": open_beam.astype(int)}
    return true_tile(SimpleNamespace(**{name: part[None, None] for name, part in parts.items()}), 0, 0)


TRUTH = truth_of(-DENSITY, LOG_FLAT, np.array(REGION))
NOISE = RNG.standard_normal((SIDE, SIDE))


def with_region(region):
    return truth_of(-DENSITY, LOG_FLAT, np.array(region))


def test_a_perfect_estimate_is_perfect():
    metrics = compare(LOG_FLAT, np.full_like(LOG_FLAT, 1e-9), TRUTH)
    assert set(metrics) == set(METRICS)
    assert metrics["od_rmse_up_to_constant"] == metrics["od_rmse_absolute"] == pytest.approx(0, abs=1e-12)
    assert metrics["ssim_fixed_range"] == pytest.approx(1)
    assert metrics["ghosting_correlation"] == metrics["ghosting_slope"] == pytest.approx(0, abs=1e-12)
    assert metrics["spread_coverage"] == 1


@settings(max_examples=20, deadline=None)
@given(constant=st.floats(-10, 10), brightness=st.floats(-3, 3))
def test_a_constant_of_the_estimate_or_of_the_flat_field_changes_nothing(constant, brightness):
    spread = np.full_like(LOG_FLAT, 0.1)
    brighter = truth_of(-DENSITY, LOG_FLAT + brightness, np.array(REGION))
    wrong = LOG_FLAT + 0.1 * NOISE
    assert compare(wrong + constant, spread, brighter) == pytest.approx(compare(wrong, spread, TRUTH), abs=1e-9)


def test_no_correction_errs_by_the_contrast_of_the_flat_field():
    metrics = compare(np.zeros_like(LOG_FLAT), None, TRUTH)
    assert metrics["od_rmse_up_to_constant"] == pytest.approx(LOG_FLAT.std())
    assert np.isnan(metrics["spread_coverage"])


def test_white_noise_errs_by_its_size_everywhere_and_is_no_ghost():
    metrics = compare(LOG_FLAT + 0.1 * NOISE, np.full_like(NOISE, 0.1), TRUTH)
    assert metrics["od_rmse_up_to_constant"] == pytest.approx(0.1, rel=0.05)
    assert metrics["spread_coverage"] == pytest.approx(0.683, abs=0.03)
    assert abs(metrics["ghosting_correlation"]) < 0.05 and abs(metrics["ghosting_slope"]) < 0.03


def test_a_spread_of_eight_perfect_samples_covers_its_documented_share():
    draws = np.random.default_rng(0).standard_normal((9, 400, 400))
    flat = truth_of(np.zeros((400, 400)), draws[8], np.zeros(4))
    lit_everywhere = TrueTile(flat.optical_density, flat.log_flat, np.ones_like(flat.lit), None)
    metrics = compare(draws[:8].mean(0), draws[:8].std(0, ddof=1), lit_everywhere)
    assert metrics["spread_coverage"] == pytest.approx(0.623, abs=0.005)


@pytest.mark.parametrize("share", [-0.5, 0.25])
def test_a_share_of_the_specimen_in_the_background_is_the_slope(share):
    metrics = compare(LOG_FLAT + share * DENSITY + 0.001 * NOISE, None, TRUTH)
    assert metrics["ghosting_slope"] == pytest.approx(share, abs=1e-3)
    assert metrics["ghosting_correlation"] == pytest.approx(np.sign(share), abs=1e-3)
    assert metrics["od_rmse_up_to_constant"] == pytest.approx(abs(share) * DENSITY.std(), rel=1e-3)


def test_a_bare_tile_has_no_ghost():
    bare = truth_of(np.zeros((SIDE, SIDE)), LOG_FLAT, np.zeros(4))
    metrics = compare(LOG_FLAT + 0.1 * NOISE, None, bare)
    assert np.isnan(metrics["ghosting_correlation"]) and np.isnan(metrics["ghosting_slope"])
    assert np.isnan(metrics["od_rmse_absolute"])


def test_the_absolute_error_counts_from_the_open_beam():
    """A ramp that is zero in the region: up to a constant it loses its mean, absolutely it does not."""
    ramp = np.maximum(X - 8 / SIDE, 0)
    metrics = compare(LOG_FLAT + ramp, None, TRUTH)
    assert metrics["od_rmse_absolute"] == pytest.approx(np.sqrt(np.mean(ramp**2)))
    assert metrics["od_rmse_up_to_constant"] == pytest.approx(ramp.std())


def test_what_stands_in_the_region_is_an_error():
    full = with_region((20, 26, 26, 32))
    assert compare(LOG_FLAT, None, full)["od_rmse_absolute"] == pytest.approx(0.8)


def test_dark_corners_do_not_count():
    dark = LOG_FLAT.copy()
    dark[:6, :6] = -20
    truth = truth_of(-DENSITY, dark, np.array(REGION))
    assert not truth.lit[:6, :6].any() and truth.lit.sum() == SIDE**2 - 36
    assert compare(LOG_FLAT, None, truth)["od_rmse_up_to_constant"] == pytest.approx(0, abs=1e-12)
    assert (centred_error(NOISE, truth)[:6, :6] == 0).all()
    assert np.isnan(compare(LOG_FLAT, None, truth_of(-DENSITY, dark, np.array([0, 0, 6, 6])))["od_rmse_absolute"])
    assert lit(np.stack([LOG_FLAT, LOG_FLAT - 3])).all()


def test_the_similarity_has_a_fixed_range():
    """Halving specimen and error together changes it: nothing is stretched by an image's own extremes."""
    wrong = gaussian_filter(NOISE, 2)
    metrics = [
        compare(LOG_FLAT + scale * wrong, None, truth_of(-scale * DENSITY, LOG_FLAT, np.zeros(4)))["ssim_fixed_range"]
        for scale in (1.0, 0.5)
    ]
    assert metrics[1] > metrics[0] + 0.01
