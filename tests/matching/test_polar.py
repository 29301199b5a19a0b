"""Patterns on a polar grid: rotations are rolls, means are preserved."""

import math

import pytest
import torch

from workflow_scripts.matching.networks.encoding import blurred, polar_patterns
from workflow_scripts.matching.simulation.kinematic import render


def spots(turn_rad=0.0):
    """A pattern (1, 64, 64) of four spots, rotated about its middle from +x to +y."""
    radius = torch.tensor([9.0, 14.0, 20.0, 24.0])
    angle = torch.tensor([0.3, 2.0, 3.7, 5.1]) + turn_rad
    position = torch.stack([radius * angle.sin(), radius * angle.cos()], dim=-1) + 31.5
    return render(position[None], torch.tensor([[1.0, 3.0, 2.0, 1.5]]), 64, 1.5)


def test_a_spot_lies_at_its_ring_and_angle():
    """[y, x] = centre + 20 px along +y is at a quarter of the angles, and of 30 rings at the ring of 20 px."""
    pattern = render(torch.tensor([[[51.5, 31.5]]]), torch.ones(1, 1), 64, 1.0)
    polar = polar_patterns(pattern, 30, 120)[0]
    assert divmod(int(polar.argmax()), 120) in ((18, 30), (19, 30))


@pytest.mark.parametrize("steps", [1, 7, 60, 119])
def test_a_turn_is_a_roll(steps):
    first = polar_patterns(spots(), 30, 120)
    second = polar_patterns(spots(2 * math.pi * steps / 120), 30, 120)
    off = float((second - first.roll(steps, dims=2)).abs().max() / first.max())
    assert off < 0.06
    assert float((second - first.roll(-steps, dims=2)).abs().max() / first.max()) > 0.3 or steps == 60


def test_constant_patterns_stay_constant_inside_and_sums_are_kept():
    """The values times the areas of the cells add up to the sum over the pixels."""
    inside = polar_patterns(torch.full((2, 64, 64), 3.0), 30, 36)[:, :25]
    assert torch.allclose(inside, torch.tensor(3.0))
    polar = polar_patterns(spots(), 60, 240)
    width = 31.5 / 60
    area = 2 * math.pi / 240 * (torch.arange(60) + 0.5) * width**2
    assert float((polar[0] * area[:, None]).sum()) == pytest.approx(float(spots().sum()), rel=5e-3)
    assert polar_patterns(torch.ones(0, 32, 32), 3, 8).shape == (0, 3, 8)


def test_points_are_interpolated():
    """Against interpolation point by point instead of a sparse matrix."""
    patterns = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    radius = ((torch.arange(12) + 0.5) / 12)[:, None]  # of half a side
    angle = 2 * math.pi / 48 * torch.arange(48)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).expand(3, -1, -1, -1)
    smooth = blurred(patterns, 0.8 * 19.5 / 12)
    expected = torch.nn.functional.grid_sample(smooth[:, None], points, align_corners=True)[:, 0]
    assert torch.allclose(polar_patterns(patterns, 12, 48), expected, atol=1e-4)


def test_gradients_pass():
    pattern = torch.rand(2, 16, 16, requires_grad=True)
    polar_patterns(pattern, 5, 12).square().sum().backward()
    assert torch.isfinite(pattern.grad).all() and float(pattern.grad.abs().max()) > 0
