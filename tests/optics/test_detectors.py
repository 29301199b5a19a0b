import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.waves import wavelength_a

KV = 200.0


def lattice(spacing_mrad=1.7, reach=40):
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64) * 1e-3 * spacing_mrad / wavelength_a(KV)
    return torch.cartesian_prod(axis, axis)


@given(st.integers(1, 8), st.floats(-400, 400))
def test_segments_share_the_ring_without_overlap(segments, rotation):
    frequency = lattice()
    masks = Detector(10, 50, segments, rotation).masks(frequency, KV)
    ring = Detector(10, 50).masks(frequency, KV)[0]
    assert masks.sum(0).eq(ring.long()).all()


@given(st.integers(2, 8), st.floats(-180, 180))
def test_a_turn_by_one_segment_renames_them(segments, rotation):
    frequency = lattice()
    masks = Detector(10, 50, segments, rotation).masks(frequency, KV)
    turned = Detector(10, 50, segments, rotation + 360 / segments).masks(frequency, KV)
    # Edges that are not multiples of 90° are rounded independently
    assert (masks.roll(-1, 0) ^ turned).float().mean() < 1e-3


def test_quadrants_begin_at_plus_y_and_turn_towards_plus_x():
    """An edge belongs to the segment that begins at it, so that a quarter turn of the pattern renames the segments."""
    step = 1e-3 * 20 / wavelength_a(KV)
    points = step * torch.tensor([[1.0, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]]).double()
    masks = Detector(10, 50, 4).masks(points, KV)
    assert masks.long().argmax(0).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    frequency = lattice()
    turned = torch.stack([-frequency[:, 1], frequency[:, 0]], dim=1)  # by 90° from +y towards +x
    detector = Detector(5, 33, 4)
    assert torch.equal(detector.masks(turned, KV).roll(-1, 0), detector.masks(frequency, KV))


def test_the_ring_holds_its_inner_and_not_its_outer_angle():
    angles = torch.tensor([0.0, 9.999, 10.001, 49.999, 50.001]).double()
    points = torch.stack([torch.zeros(5).double(), angles * 1e-3 / wavelength_a(KV)], dim=1)
    assert Detector(10, 50).masks(points, KV)[0].tolist() == [False, False, True, True, False]
    assert bool(Detector(0, 20, 4).masks(points[:1], KV).any())  # the axis belongs to a disc


def test_equal_segments_are_equal():
    counts = Detector(10, 50, 4).masks(lattice(0.9, 60), KV).sum(1)
    assert counts.max() == counts.min()
    share = counts.sum() / len(lattice(0.9, 60)) * (121 * 0.9) ** 2
    assert float(share) == pytest.approx(math.pi * (50**2 - 10**2), rel=0.01)


@pytest.mark.parametrize("ring", [(10, 10), (20, 10), (-1, 10)])
def test_an_empty_ring_is_refused(ring):
    with pytest.raises(ValueError, match="inner < outer"):
        Detector(*ring)
    with pytest.raises(ValueError, match="segment"):
        Detector(0, 10, 0)
