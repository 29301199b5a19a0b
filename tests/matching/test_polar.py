"""Polar grids: turns are rolls, means are kept."""

import math

import pytest
import torch

from workflow_scripts.matching.networks.polar import ring_radii_px, to_polar
from workflow_scripts.matching.simulation.kinematic import render


def spots(turn_rad=0.0):
    """A pattern (1, 64, 64) of four spots, turned about its middle from +x to +y."""
    radius = torch.tensor([9.0, 14.0, 20.0, 24.0])
    angle = torch.tensor([0.3, 2.0, 3.7, 5.1]) + turn_rad
    position = torch.stack([radius * angle.sin(), radius * angle.cos()], dim=-1) + 31.5
    return render(position[None], torch.tensor([[1.0, 3.0, 2.0, 1.5]]), 64, 1.5)


def test_rings():
    assert ring_radii_px(4, 2.0, 10.0).tolist() == [3.0, 5.0, 7.0, 9.0]


def test_a_spot_lies_at_its_ring_and_angle():
    """[y, x] = centre + 20 px along +y is at a quarter of the angles."""
    pattern = render(torch.tensor([[[51.5, 31.5]]]), torch.ones(1, 1), 64, 1.0)
    polar = to_polar(pattern, 28, 120, 2.0, 30.0)[0]
    assert divmod(int(polar.argmax()), 120) in ((17, 30), (18, 30))


@pytest.mark.parametrize("steps", [1, 7, 60, 119])
def test_a_turn_is_a_roll(steps):
    first = to_polar(spots(), 28, 120, 2.0, 30.0)
    second = to_polar(spots(2 * math.pi * steps / 120), 28, 120, 2.0, 30.0)
    off = float((second - first.roll(steps, dims=2)).abs().max() / first.max())
    assert off < 0.05
    assert float((second - first.roll(-steps, dims=2)).abs().max() / first.max()) > 0.3 or steps == 60


def test_constant_patterns_stay_constant_and_sums_are_kept():
    """The mean over cells times their areas is the sum over pixels of what lies on the rings."""
    assert torch.allclose(to_polar(torch.full((2, 64, 64), 3.0), 10, 36, 0.0, 31.0), torch.tensor(3.0))
    pattern = spots()
    polar = to_polar(pattern, 60, 240, 1.0, 31.0)
    area = 2 * math.pi / 240 * ring_radii_px(60, 1.0, 31.0) * 0.5
    assert float((polar[0] * area[:, None]).sum()) == pytest.approx(float(pattern.sum()), rel=5e-3)


def test_beyond_the_pattern_counts_as_nothing():
    polar = to_polar(torch.ones(1, 32, 32), 10, 40, 40.0, 50.0)
    assert float(polar.abs().max()) == 0
    assert to_polar(torch.ones(0, 32, 32), 3, 8, 0.0, 9.0).shape == (0, 3, 8)


def test_cells_are_means_of_interpolated_points():
    """Against interpolation point by point instead of a sparse matrix; patterns may be oblong."""
    patterns = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0))
    radius, angle = ring_radii_px(24, 3.0, 18.0)[:, None], 2 * math.pi / 48 * ((torch.arange(96) + 0.5) / 2 - 0.5)
    points = torch.stack([radius * angle.cos() * 2 / 55, radius * angle.sin() * 2 / 39], dim=-1).expand(3, -1, -1, -1)
    values = torch.nn.functional.grid_sample(patterns[:, None], points, align_corners=True)
    expected = torch.nn.functional.avg_pool2d(values, 2)[:, 0]
    assert torch.allclose(to_polar(patterns, 12, 48, 3.0, 18.0), expected, atol=1e-4)


def test_gradients_pass():
    pattern = torch.rand(2, 16, 16, requires_grad=True)
    to_polar(pattern, 5, 12, 1.0, 7.0).square().sum().backward()
    assert torch.isfinite(pattern.grad).all() and float(pattern.grad.abs().max()) > 0


@pytest.mark.parametrize("wrong", [{"inner_px": 9.0}, {"inner_px": -1.0}, {"rings": 0}, {"angles": 0}])
def test_grids_that_cannot_be(wrong):
    grid = {"rings": 4, "angles": 8, "inner_px": 1.0, "outer_px": 9.0} | wrong
    with pytest.raises(ValueError, match=r"inner_px|at least 1"):
        to_polar(torch.ones(1, 20, 20), **grid)
