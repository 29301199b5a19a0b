"""Counts: their law, the camera's limits, and the way back to a log tile."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.background.simulation.sessions import DEAD_SHARE, LARGEST_COUNT, log_tiles, raw_counts


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=15, deadline=None)
@given(dose=st.floats(1, 5000), dark=st.floats(0, 500), log_value=st.floats(-2, 0.3))
def test_mean_and_variance_are_poisson_s(dose, dark, log_value):
    counts = raw_counts(torch.full((1, 200, 200), log_value), dose, dark, generator()).double()
    expected = dose * math.exp(log_value) + dark
    assert counts.mean() == pytest.approx(expected, abs=5 * math.sqrt(expected / 40000))
    assert counts.var() == pytest.approx(expected, rel=0.05, abs=0.05)


def test_counts_are_whole_and_a_tile_has_its_own_dose():
    dose = torch.tensor([100.0, 10000.0])[:, None, None]
    counts = raw_counts(torch.zeros(2, 50, 50), dose, 20.0, generator())
    assert torch.equal(counts, counts.round()) and (counts >= 0).all()
    assert counts.mean((1, 2)).tolist() == pytest.approx([120, 10020], rel=0.02)


def test_the_camera_is_full_at_16_bit():
    assert (raw_counts(torch.zeros(1, 8, 8), 1e6, 0.0, generator()) == LARGEST_COUNT).all()


def test_without_light_only_the_dark_frame_is_left():
    dark = raw_counts(torch.full((1, 100, 100), -math.inf), 1000.0, 50.0, generator())
    assert dark.mean() == pytest.approx(50, rel=0.01)
    assert (raw_counts(torch.full((1, 9, 9), -math.inf), 1000.0, 0.0, generator()) == 0).all()


def test_the_same_seed_gives_the_same_counts():
    first, again, other = (raw_counts(torch.zeros(1, 9, 9), 100.0, 9.0, generator(k)) for k in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_log_tile_is_the_logarithm_that_was_counted():
    image = 0.3 * torch.randn(2, 40, 40, generator=generator()).clamp(-2, 2)
    tiles, dead = log_tiles(raw_counts(image, 30000.0, 100.0, generator()).double(), 100.0)
    expected = image - image.flatten(1).median(1).values[:, None, None]
    assert not dead.any()
    assert (tiles - expected).abs().max() < 6 / math.sqrt(30000 * math.exp(-0.6))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), factor=st.floats(0.5, 20), dark=st.floats(0, 300))
def test_dose_and_dark_have_no_effect(seed, factor, dark):
    light = 100 + 900 * torch.rand(2, 9, 11, generator=generator(seed), dtype=torch.float64)
    tiles, dead = log_tiles(light, 0.0)
    others, other_dead = log_tiles(factor * light + dark, dark)
    assert torch.allclose(tiles, others, atol=1e-9) and torch.equal(dead, other_dead)


def test_the_median_of_a_log_tile_is_0():
    tiles, _ = log_tiles(raw_counts(torch.zeros(3, 21, 21), 300.0, 30.0, generator()), 30.0)
    assert torch.allclose(tiles.flatten(1).median(1).values, torch.zeros(3))


def test_a_dark_frame_is_subtracted_pixel_by_pixel():
    light = 100 + 900 * torch.rand(2, 9, 11, generator=generator())
    frame = 200 * torch.rand(9, 11, generator=generator(1))
    assert torch.allclose(log_tiles(light + frame, frame)[0], log_tiles(light, 0.0)[0], atol=1e-4)


def test_dead_pixels_are_marked_and_get_the_faintest_valid_value():
    counts = torch.full((1, 9, 9), 1100.0)
    counts[0, 0, :4] = torch.tensor([0.0, 100.0, 149.0, 151.0])  # less than the dark frame, as much, just dead, valid
    tiles, dead = log_tiles(counts, 100.0)
    assert dead[0, 0, :5].tolist() == [True, True, True, False, False] and dead.sum() == 3
    assert tiles[0, 0, :3].tolist() == pytest.approx([math.log(DEAD_SHARE)] * 3)
    assert torch.isfinite(tiles).all()


def test_a_tile_without_any_light_is_finite():
    tiles, _ = log_tiles(torch.full((1, 9, 9), 100.0), 100.0)
    assert torch.isfinite(tiles).all()
