"""Images of any size and pixel through a network: tiles leave no trace, and resampling loses nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from workflow_scripts.potential.apply.tiles import estimate_image, estimate_tiled, resample


def smooth(shape, pixel_a, shortest_a=1.5, seed=0):
    """A sum of waves longer than `shortest_a` on any grid: (2, H, W)."""
    rng = np.random.default_rng(seed)
    y, x = (np.arange(n) * pixel_a for n in shape)
    image = np.zeros((2, *shape))
    for channel in range(2):
        for _ in range(6):
            angle, frequency = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1) / shortest_a
            wave = frequency * (np.sin(angle) * y[:, None] + np.cos(angle) * x)
            image[channel] += np.cos(2 * np.pi * wave + rng.uniform(0, 6))
    return image


def local(images):
    """Sees 5 × 5 pixels, is not linear, and pads as the networks do."""
    kernel = torch.linspace(-1, 1, 25).reshape(1, 1, 5, 5).expand(images.shape[1], 1, 5, 5)
    seen = functional.conv2d(functional.pad(images, [2] * 4, mode="reflect"), kernel, groups=images.shape[1])
    return torch.cat([seen.tanh(), images.square()], dim=1)


def identity(images):
    return images


@given(st.sampled_from([32, 48, 64]), st.integers(0, 60), st.integers(0, 60), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_no_tile_is_seen_of_an_estimate_that_looks_less_far_than_the_margin(side, more, wider, batch):
    image = torch.from_numpy(smooth((64 + more, 64 + wider), 0.2)).float()
    tiled = estimate_tiled(image, local, side, batch)
    whole = local(image[None])[0]
    margin = side // 8
    inside = np.s_[:, margin:-margin, margin:-margin]
    assert torch.allclose(tiled[inside], whole[inside], atol=2e-5)


def test_tiles_that_disagree_blend_without_a_step():
    numbers = iter(range(1000))

    def disagreeing(tiles):
        return torch.stack([torch.full((1, 64, 64), float(next(numbers) % 2)) for _ in tiles])

    blended = estimate_tiled(torch.zeros(1, 200, 64), disagreeing, 64, 1)[0, :, 32]
    assert blended.min() < 0.01 and blended.max() > 0.99
    assert blended.diff().abs().max() < 0.13  # of a cosine over 16 pixels: π / 32


@given(st.integers(4, 40), st.integers(4, 40))
@settings(max_examples=20, deadline=None)
def test_resampling_onto_the_same_points_changes_nothing(height, width):
    image = np.random.default_rng(height).normal(size=(height, width))
    assert np.allclose(resample(image, np.arange(height), np.arange(width)), image)


def test_resampling_is_exact_for_cosines_and_mirrors_beyond_the_rim():
    n = 20
    points = np.linspace(-8, 27, 60)
    image = np.cos(np.pi * 3 * (np.arange(n) + 0.5) / n)[:, None] * np.ones(n)
    found = resample(image, points, np.arange(n))
    assert np.allclose(found[:, 4], np.cos(np.pi * 3 * (points + 0.5) / n))
    noise = np.random.default_rng(0).normal(size=(n, n))
    assert np.allclose(resample(noise, np.array([-1.0, -2.0, 20.0]), np.arange(n)), noise[[0, 1, 19]])


def test_frequencies_from_the_limit_on_are_left_out():
    n = 40
    slow, fast = (np.cos(np.pi * k * (np.arange(n) + 0.5) / n) for k in (6, 24))
    image = np.ones((n, 1)) * (slow + fast)
    assert np.allclose(resample(image, np.arange(n), np.arange(n), limit_per_px=0.2), slow)


@pytest.mark.parametrize("pixel_a", [0.11, 0.2, 0.27, 0.31])
@pytest.mark.parametrize("shape", [(150, 90), (40, 300), (17, 16)])
def test_what_an_image_can_hold_comes_back_from_the_networks_pixels(pixel_a, shape):
    image = smooth(shape, pixel_a)
    found = estimate_image(image, pixel_a, 0.2, identity, 64, 8)
    assert found.shape == image.shape
    # The mirror image has a kink at the rim, which no band limit holds
    inside = np.s_[:, 4:-4, 4:-4]
    assert abs(found - image)[inside].max() < 0.06 * abs(image).max()
    assert np.sqrt(np.mean((found - image)[inside] ** 2)) < 0.01 * image.std()


@pytest.mark.parametrize("pixel_a", [0.13, 0.29])
def test_the_estimate_is_made_on_the_networks_pixels(pixel_a):
    """A slope in value per pixel of the network's is the same whatever pixel the user has."""

    def slope(tiles):
        return torch.roll(tiles, -1, -2) - torch.roll(tiles, 1, -2)

    image = smooth((120, 130), pixel_a, shortest_a=4.0)
    found = estimate_image(image, pixel_a, 0.2, slope, 64, 8)
    up, down = (resample(image, np.arange(120) + sign * 0.2 / pixel_a, np.arange(130)) for sign in (-1, 1))
    inside = np.s_[:, 12:-12, 12:-12]
    assert abs(found - (down - up))[inside].max() < 0.02 * abs(found).max()


def test_a_finer_scan_of_the_same_field_gives_the_same_potential():
    coarse, fine = smooth((101, 101), 0.28), smooth((201, 201), 0.14)
    kernel = torch.ones(2, 1, 5, 5) / 25

    def blur(tiles):
        return functional.conv2d(functional.pad(tiles, [2] * 4, mode="reflect"), kernel, groups=2)

    found = [estimate_image(image, pixel, 0.2, blur, 64, 8) for image, pixel in ((coarse, 0.28), (fine, 0.14))]
    inside = np.s_[:, 8:-8, 8:-8]
    assert abs(found[0] - found[1][:, ::2, ::2])[inside].max() < 0.02 * abs(coarse).max()


def test_noise_keeps_its_strength_per_area():
    """Shares counted at one dose scatter on the network's pixels as that dose makes them scatter there."""
    rng = np.random.default_rng(0)
    pixel_a, network_a, dose = 0.1, 0.2, 1e4
    electrons = dose * pixel_a**2
    shares = rng.poisson(0.1 * electrons, (1, 400, 400)) / electrons
    seen = []

    def keep(tiles):
        seen.append(tiles)
        return tiles

    estimate_image(shares, pixel_a, network_a, keep, 64, 64)
    expected = np.sqrt(0.1 / (dose * network_a**2))
    assert float(torch.cat(seen).std()) == pytest.approx(expected, rel=0.05)
