"""Colours of beam directions: equal for equivalent ones, different in the zone, with a key that shows them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from workflow_scripts.matching.evaluation.orientation_colours import ColourKey, in_zone

GROUPS = ("C1", "C2", "D2", "D3", "D4", "D6", "T", "O")


def key(name):
    return ColourKey.of(Rotation.create_group(name).as_matrix())


def directions(n=500):
    vectors = np.random.default_rng(0).standard_normal((n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("name", GROUPS)
def test_equivalent_directions_and_opposite_ones_have_one_colour(name):
    made, d = key(name), directions()
    colours = made.colours(d)
    assert ((colours >= 0) & (colours <= 1)).all() and np.isfinite(colours).all()
    for operation in made.symmetry:
        assert made.colours(-d @ operation) == pytest.approx(colours, abs=1e-6)


@pytest.mark.parametrize("name", GROUPS)
def test_moving_into_the_zone_moves_nothing_twice(name):
    made = key(name)
    moved = in_zone(directions(), made.symmetry)
    assert in_zone(moved, made.symmetry) == pytest.approx(moved)


def test_the_corners_of_orthorhombic_and_cubic_crystals_are_the_known_ones():
    assert key("D2").corner_names() == ["0 0 1", "1 0 0", "0 1 0"]
    assert key("O").corner_names() == ["0 0 1", "1 0 1", "1 1 1"]
    assert key("D2").colours(np.array([0.0, 0, -1])) == pytest.approx([1, 0, 0], abs=1e-2)


@pytest.mark.parametrize("name", GROUPS)
def test_the_key_shows_the_zone_and_its_corners(name):
    picture, corners = key(name).picture(100)
    inside = picture[..., 3] > 0
    assert 0.2 < inside.mean() < 0.95
    assert (corners > -1).all() and (corners < np.array(picture.shape[:2]) + 1).all()
