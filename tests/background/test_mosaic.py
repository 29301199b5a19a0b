"""Mosaics: a scene that was cut up comes back whole, whatever constants its tiles had."""

import numpy as np
import pytest

from workflow_scripts.background.apply.mosaic import blended, tile_constants
from workflow_scripts.workflow.errors import InputError

SIDE = 40


def tiles():
    scene = np.random.default_rng(0).normal(size=(100, 100))
    places = np.array([(0, 0), (3, 30), (31, 2), (33, 28)])
    return scene, np.stack([scene[y : y + SIDE, x : x + SIDE] for y, x in places]), places


def test_constants_are_found_and_leave_no_seam():
    scene, cut, places = tiles()
    constants = np.array([0.5, -1.0, 2.0, 0.0])
    levels = tile_constants(cut + constants[:, None, None], places)
    assert levels == pytest.approx(constants.mean() - constants, abs=1e-9)
    image = blended(cut + constants[:, None, None], places)
    assert image.shape == (73, 70)
    covered = np.isfinite(image)
    assert image[covered] == pytest.approx(scene[:73, :70][covered] + constants.mean(), abs=1e-5)
    assert np.isnan(image[~covered]).all()
    assert (~covered).any()


def test_without_levelling_the_seams_stay():
    scene, cut, places = tiles()
    image = blended(cut + np.array([0, 1, 0, 0])[:, None, None], places, level=False)
    assert np.std((image - scene[:73, :70])[np.isfinite(image)]) > 0.1


def test_missing_pixels_have_no_weight_and_a_vast_mosaic_is_refused():
    _, cut, places = tiles()
    cut = cut[:1].copy()
    cut[0, 7, 9] = np.nan
    image = blended(cut, places[:1])
    assert np.isnan(image[7, 9]) and np.isnan(image).sum() == 1
    with pytest.raises(InputError, match="check the positions"):
        blended(np.zeros((2, 8, 8)), np.array([[0, 0], [1e6, 1e6]]))


def test_weights_fade_to_the_edges():
    image = blended(np.stack([np.zeros((8, 8)), np.ones((8, 8))]), np.array([(0, 0), (0, 4)]), level=False)
    assert (np.diff(image[4]) >= 0).all() and 0 < image[4, 4] < image[4, 7] < 1


def test_groups_that_do_not_touch_are_levelled_apart():
    flat = np.arange(4.0)[:, None, None] * np.ones((4, 8, 8))
    levels = tile_constants(flat, np.array([(0, 0), (0, 4), (100, 0), (100, 4)]))
    assert levels == pytest.approx([0.5, -0.5, 0.5, -0.5])
