"""T, SSNR and FRC where their values are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from workflow_scripts.study.metrics import (
    fourier_ring_correlation,
    radial_transfer,
    transfer_at_period,
    transfer_in_band,
)
from workflow_scripts.workflow.errors import InputError


def white(seed, shape=(230, 210)):
    return np.random.default_rng(seed).standard_normal(shape)


@given(st.floats(-2, 2), st.floats(-100, 100), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_transfer_is_the_gain_whatever_the_offset(gain, offset, seed):
    truth = white(seed, (64, 80))
    curve = radial_transfer(gain * truth + offset, truth)
    assert np.allclose(curve["transfer"], gain, atol=1e-9)


def test_a_gaussian_filter_transmits_its_own_transfer_function():
    truth = white(0, (400, 400))
    sigma = 2.0
    curve = radial_transfer(gaussian_filter(truth, sigma, mode="wrap"), truth)
    expected = np.exp(-2 * (np.pi * sigma * curve["frequency_per_px"]) ** 2)
    assert np.abs(curve["transfer"] - expected).max() < 0.03
    assert transfer_in_band(gaussian_filter(truth, sigma, mode="wrap"), truth, 80, 130) > 0.98


def test_noise_leaves_the_transfer_and_sets_the_ssnr():
    truth = white(1, (400, 400))
    curve = radial_transfer(truth + 0.5 * white(2, (400, 400)), truth).iloc[20:]
    assert np.abs(curve["transfer"].mean() - 1.0) < 0.01
    assert curve["ssnr"].mean() == pytest.approx(4.0, rel=0.1)
    assert curve["frc"].mean() == pytest.approx(1 / np.sqrt(1.25), rel=0.02)


def test_the_frc_of_unrelated_images_vanishes():
    curve = fourier_ring_correlation(white(3), white(4))
    assert abs(curve["frc"].iloc[20:].mean()) < 0.02


def test_what_was_not_measured_does_not_count():
    """NaN holes and a frame of NaN, other far values under them, and another gauge: T stays 1."""
    truth = white(5)
    image = truth + 3.0
    image[:7] = image[:, -5:] = image[100:110, 90:95] = np.nan
    assert transfer_at_period(image, truth, 100) == pytest.approx(1.0, abs=1e-9)


def test_a_missing_long_period_is_seen():
    y = np.arange(230)[:, None] * np.ones(210)
    wave = 5 * np.sin(2 * np.pi * y / 100)
    truth = white(6) * 0.1 + wave
    assert abs(transfer_at_period(truth - wave, truth, 100)) < 0.05
    assert transfer_in_band(truth - wave, truth, 4, 6) == pytest.approx(1.0, abs=0.02)


def test_a_period_beyond_half_the_image_is_not_measured():
    assert np.isnan(transfer_at_period(white(7), white(7), 110))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((8, 8)), np.zeros((8, 9)), "one shape"),
        (np.zeros(8), np.zeros(8), "one shape"),
        (np.full((8, 8), np.nan), np.zeros((8, 8)), "fewer than 4 × 4"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(first, second, message):
    with pytest.raises(InputError, match=message):
        radial_transfer(first, second)
