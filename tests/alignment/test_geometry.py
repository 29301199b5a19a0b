"""Turning and shifting against closed forms, both parities of the box; polar sampling and peaks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.alignment.blobs import image
from workflow_scripts.alignment.simulation.geometry import (
    align,
    angular_correlation,
    move,
    peak,
    peak_2d,
    polar_power_spectra,
    rotate,
    shift,
)

SIZES = pytest.mark.parametrize("n", [64, 65])


@SIZES
@given(angle=st.floats(-400, 400), y=st.floats(-6, 6), x=st.floats(-6, 6))
@settings(max_examples=25, deadline=None)
def test_a_moved_image_is_the_image_moved_in_closed_form(n, angle, y, x):
    moved = move(image(n)[None], torch.tensor([angle]), torch.tensor([[y, x]]))[0]
    assert torch.allclose(moved, image(n, angle, (y, x)), atol=2e-5)


@SIZES
def test_a_quarter_turn_takes_x_to_y(n):
    spot = torch.zeros(1, n, n)
    spot[0, n // 2, n // 2 + 7] = 1
    rotated = rotate(spot, torch.tensor([90.0]))[0]
    assert rotated[n // 2 + 7, n // 2] == pytest.approx(1, abs=1e-5)


@SIZES
def test_align_undoes_move(n):
    angle, shift_px = torch.tensor([33.0, 250.5]), torch.tensor([[2.5, -3.25], [-4.0, 1.0]])
    reference = image(n).expand(2, n, n)
    assert torch.allclose(align(move(reference, angle, shift_px), angle, shift_px), reference, atol=1e-5)


@SIZES
def test_whole_shifts_roll_the_pixels(n):
    images = torch.randn(2, n, n, generator=torch.Generator().manual_seed(0))
    shifted = shift(images, torch.tensor([[3.0, -5.0], [0.0, 0.0]]))
    assert torch.allclose(shifted, torch.stack([images[0].roll((3, -5), (0, 1)), images[1]]), atol=1e-5)


def test_turned_white_noise_stays_white():
    """Interpolation would blur it, at 45° most, and so reveal the angle from noise alone."""
    noise = torch.randn(40, 64, 64, generator=torch.Generator().manual_seed(1))
    rotated = rotate(noise, torch.full((40,), 45.0))
    assert rotated.var() == pytest.approx(1, abs=0.03)
    neighbours = (rotated * rotated.roll(1, 2)).mean()
    assert abs(neighbours) < 0.02


@SIZES
def test_polar_power_is_the_power_and_turns_with_the_image(n):
    particle = torch.stack([image(n), image(n, 40.0, (3, -4))])
    rings = torch.tensor([2.0, 5.0, 9.5])
    polar = polar_power_spectra(particle, rings)
    theta = torch.arange(180) * math.pi / 180
    pixels = (torch.arange(n) - n // 2).double()
    row, column = (rings[:, None] * wave for wave in (torch.sin(theta), torch.cos(theta)))
    waves_y = torch.exp(-2j * math.pi / n * row[..., None] * pixels)
    waves_x = torch.exp(-2j * math.pi / n * column[..., None] * pixels)
    exact = torch.einsum("rty,yx,rtx->rt", waves_y, particle[0].to(waves_y.dtype), waves_x).abs().square()
    scale = exact.mean(dim=1, keepdim=True)
    assert ((polar[0] - exact).abs() / scale).max() < 0.1
    assert ((polar[1] - polar[0].roll(40, -1)).abs() / scale).max() < 0.1


def test_rings_beyond_the_spectrum_are_refused():
    with pytest.raises(ValueError, match="between 0 and n/2"):
        polar_power_spectra(torch.zeros(1, 32, 32), torch.tensor([16.0]))


@given(st.floats(0, 179.99))
@settings(max_examples=30, deadline=None)
def test_the_peak_of_a_correlation_is_the_turn_between_the_samples(turn_deg):
    theta = torch.arange(180) * 2 * math.pi / 180
    ring = [1 + torch.cos(theta - a) + 0.5 * torch.cos(3 * theta - 3 * a) for a in (0.0, math.radians(2 * turn_deg))]
    place, _ = peak(angular_correlation(ring[1][None, None], ring[0][None, None]))
    assert abs((float(place) - turn_deg + 90) % 180 - 90) < 0.02


def test_the_peak_of_a_surface_is_signed_and_sought_nearby_only():
    near = image(64, 0, (-3.3, 4.4), ((0, 0, 2.0, 1.0),))
    far = image(64, 0, (20, 0), ((0, 0, 2.0, 3.0),))
    surface = (near + far).roll((-32, -32), (0, 1))[None]
    assert torch.allclose(peak_2d(surface, 10)[0], torch.tensor([[-3.3, 4.4]]), atol=0.05)
    assert torch.allclose(peak_2d(surface, 32)[0], torch.tensor([[20.0, 0.0]]), atol=0.05)
