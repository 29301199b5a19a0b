"""Specimens: what Beer–Lambert's law and the transport of intensity say of them, and how varied they are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.background.simulation.specimens import (
    _blurred,
    _ellipsoids,
    _fibres,
    _foams,
    _powders,
    _solids,
    log_transmission,
    propagated,
    uniform,
)

KINDS = [_solids, _foams, _fibres, _powders]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def many():
    return log_transmission(400, 48, generator())


def grid(side_px):
    line = (torch.arange(side_px) + 0.5) / side_px
    return torch.meshgrid(line, line, indexing="ij")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), strength=st.floats(0, 5))
def test_propagation_keeps_the_sum(seed, strength):
    transmission = torch.rand(3, 12, 17, generator=generator(seed), dtype=torch.float64)
    image = propagated(transmission, strength)
    assert torch.allclose(image.sum((1, 2)), transmission.sum((1, 2)))


def test_propagation_of_a_wave_is_its_eigenvalue():
    """cos(2π f x) on the grid is an eigenfunction of the stencil: 1 + a (2 − 2 cos 2π f)."""
    x, frequency, strength = torch.arange(32.0), 1 / 8, 0.7
    wave = 0.1 * torch.cos(2 * math.pi * frequency * x).expand(1, 32, 32)
    factor = 1 + strength * (2 - 2 * math.cos(2 * math.pi * frequency))
    inner = (..., slice(1, -1), slice(1, -1))
    assert torch.allclose(propagated(0.5 + wave, strength)[inner], (0.5 + factor * wave)[inner], atol=1e-6)


def test_an_edge_is_bright_outside_and_dark_inside():
    transmission = torch.ones(1, 9, 12)
    transmission[..., 6:] = 0.6
    image = propagated(transmission, 0.5)[0, 4]
    assert image[5] == pytest.approx(1.2) and image[6] == pytest.approx(0.4)
    assert image[4] == 1 and image[7] == pytest.approx(0.6)


def test_without_a_way_or_a_specimen_nothing_changes():
    transmission = torch.rand(2, 8, 8, generator=generator())
    assert torch.equal(propagated(transmission, 0.0), transmission)
    assert torch.equal(propagated(torch.ones(2, 8, 8), 3.0), torch.ones(2, 8, 8))


def test_every_specimen_has_a_strength_of_its_own():
    transmission = torch.rand(2, 8, 8, generator=generator())
    both = propagated(transmission, torch.tensor([0.0, 2.0])[:, None, None])
    assert torch.equal(both[0], transmission[0]) and torch.equal(both[1], propagated(transmission, 2.0)[1])


def test_the_projection_of_a_sphere_has_its_volume():
    y, x = grid(200)
    unit = torch.tensor([[1.0]])
    centre, radius = 0.5 * unit, 0.3 * unit

    def upright(*shape, low=0.0, high=1.0):  # aspect 1, angle 0
        return torch.full(shape, high if low else 0.0)

    solid, shell = (
        _ellipsoids((y, x), (centre, centre), radius, unit, hollow * unit, upright).sum() / 200**2 * 2
        for hollow in (0, 0.8)
    )
    volume = 4 / 3 * math.pi * 0.3**3
    assert solid == pytest.approx(volume, rel=2e-3)
    assert shell == pytest.approx(volume * (1 - 0.8**3), rel=4e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thickness_is_never_negative_and_seldom_absent(kind):
    thickness = kind(40, *grid(40), uniform(generator()))
    assert thickness.shape == (40, 40, 40) and torch.isfinite(thickness).all()
    assert (thickness >= 0).all()
    assert (thickness.amax((1, 2)) > 0).float().mean() > 0.8


def test_an_ellipsoid_is_flat_across_its_axis():
    """Aspect 1/2: half as wide across, nowhere wider, as thick in its middle."""
    y, x = grid(100)
    unit = torch.tensor([[1.0]])

    def along_x(*shape, low=0.0, high=1.0):  # aspect 1/2, angle 0
        return torch.full(shape, low)

    flat = _ellipsoids((y, x), (0.5 * unit, 0.5 * unit), 0.4 * unit, unit, -unit, along_x)[0]
    assert (flat > 0).any(0).sum() == 80 and (flat > 0).any(1).sum() == 40
    assert flat.max() == pytest.approx(0.4, rel=0.01)


def test_projections_of_several_add_up():
    y, x = grid(30)
    centre_y, centre_x, radius, weight = (torch.rand(1, 5, generator=generator(k)) for k in range(4))

    def upright(*shape, low=0.0, high=1.0):
        return torch.full(shape, high if low else 0.0)

    hollow = torch.full((1, 5), 0.5)

    def projection(rows):
        centres = centre_y[:, rows], centre_x[:, rows]
        return _ellipsoids((y, x), centres, radius[:, rows], weight[:, rows], hollow[:, rows], upright)

    assert torch.allclose(projection(slice(None)), sum(projection([k]) for k in range(5)), atol=1e-6)


def test_a_blur_keeps_what_is_flat_and_spreads_a_point():
    assert torch.allclose(_blurred(torch.ones(2, 20, 20), torch.tensor([0.6, 3.0])), torch.ones(2, 20, 20), atol=1e-5)
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    spread, x = _blurred(point, torch.tensor([2.0]))[0], torch.arange(41.0) - 20
    assert spread.sum() == pytest.approx(1, abs=1e-3)
    assert (spread.sum(0) * x**2).sum() == pytest.approx(4, rel=0.02)


def test_shape_and_type(many):
    assert many.shape == (400, 48, 48) and many.dtype == torch.float32
    assert torch.isfinite(many).all()


def test_optical_density_has_its_bounds(many):
    assert -3.5 < many.min() < -1.5  # 2.5, and what an edge takes
    assert 0.1 < many.max() < 0.8  # only edges are brighter than the open beam


def test_a_fifth_is_bare(many):
    bare = (many == 0).flatten(1).all(1).float().mean()
    assert bare == pytest.approx(0.2, abs=0.08)


def test_most_of_a_faint_specimen_s_field_is_open_beam(many):
    """The level of a specimen is known where nothing is: somewhere in most of them the transmission is 1."""
    assert ((many.abs() < 0.01).flatten(1).any(1)).float().mean() > 0.85


def test_objects_cross_the_borders(many):
    covered = many < -0.05
    border = covered[:, 0].any(1) | covered[:, -1].any(1) | covered[..., 0].any(1) | covered[..., -1].any(1)
    assert border[covered.flatten(1).any(1)].float().mean() > 0.5


def test_sizes_range_from_small_to_more_than_the_field(many):
    share = (many < -0.05).float().mean((1, 2))
    assert (share > 0.9).any() and ((share > 0) & (share < 0.01)).any()


def test_bright_edges_are_seen_in_some_and_not_in_others(many):
    brightest = many.amax((1, 2))[many.amin((1, 2)) < -0.1]
    assert (brightest > 0.08).float().mean() > 0.15
    assert (brightest < 0.02).float().mean() > 0.15


def test_the_same_seed_gives_the_same_specimens():
    first, again, other = (log_transmission(70, 24, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("side_px", [16, 33])
def test_other_sizes(side_px):
    assert torch.isfinite(log_transmission(20, side_px, generator())).all()
