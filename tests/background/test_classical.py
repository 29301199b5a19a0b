"""Classical flat fields: what they recover exactly, and what no constant changes."""

import numpy as np
import pytest

from workflow_scripts.background.estimators.eigen_flats import EigenFlats, significant_components
from workflow_scripts.background.estimators.gaussian import gaussian_flats
from workflow_scripts.background.estimators.median import flats_of_sets
from workflow_scripts.background.simulation.sessions import nearest_in_order

SIDE = 48


def modes():
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return np.stack([np.sin(3 * x), np.cos(4 * y) * x, 0.3 * np.sin(9 * x * y)])


def specimen():
    """Optical density: piecewise constant, so that its gradient is sparse."""
    density = np.zeros((SIDE, SIDE))
    density[10:30, 12:28] = 0.7
    density[25:40, 30:44] += 0.3
    return density


def references(count=12, noise=0.0):
    rng = np.random.default_rng(5)
    mean = np.cos(2 * np.mgrid[:SIDE, :SIDE][0] / SIDE)
    made = mean + np.tensordot(0.1 * rng.normal(size=(count, 3)), modes(), axes=1)
    return made + noise * rng.normal(size=made.shape), mean


def meanfree(image):
    return image - image.mean()


def test_a_constant_survives_the_blur():
    tiles = np.full((2, SIDE, SIDE), 0.7)
    assert gaussian_flats(tiles, 9) == pytest.approx(tiles, abs=1e-6)
    assert np.array_equal(gaussian_flats(specimen()[None]), gaussian_flats(specimen()[None], 0.08 * SIDE))


def test_sets_are_the_nearest_in_order_and_begin_with_the_own_tile():
    assert nearest_in_order(16, 4)[5].tolist() == [5, 4, 6, 3]
    assert nearest_in_order(16, 2)[15].tolist() == [15, 14]
    assert nearest_in_order(6, 3)[[0, 3, 5]].tolist() == [[0, 1, 2], [3, 2, 4], [5, 4, 3]]
    assert nearest_in_order(4, 16).shape == (4, 4)
    assert all(sorted(row) == [0, 1, 2, 3] for row in nearest_in_order(4, 16).tolist())


def test_the_median_of_all_forgets_what_few_tiles_show():
    flat = references()[0][0]
    tiles = np.repeat(flat[None], 5, axis=0)
    tiles[0] -= specimen()
    tiles[1, :5] -= 1
    assert flats_of_sets(tiles, 5) == pytest.approx(np.repeat(flat[None], 5, axis=0), abs=1e-6)
    assert flats_of_sets(tiles, 2)[0] == pytest.approx((tiles[0] + tiles[1]) / 2, abs=1e-6)


def test_eigen_flats_are_exact_on_references_without_noise():
    made, _ = references()
    flats = EigenFlats.of_references(made, np.random.default_rng(0))
    assert len(flats.components) == 3
    estimated = flats.log_flats(made[:3])
    for image, truth in zip(estimated, made, strict=False):
        assert meanfree(image) == pytest.approx(meanfree(truth), abs=1e-4)


def test_weights_are_recovered_beneath_a_specimen_and_ignore_a_constant():
    made, mean = references()
    flats = EigenFlats.of_references(made, np.random.default_rng(0))
    truth = mean + np.tensordot([0.2, -0.1, 0.15], modes(), axes=1)
    tile = truth - specimen()
    estimated = flats.log_flats(np.stack([tile, tile + 3]))
    assert meanfree(estimated[0]) == pytest.approx(meanfree(truth), abs=2e-3)
    assert estimated[1] == pytest.approx(estimated[0], abs=1e-4)
    # Least squares alone is misled by the specimen.
    basis = flats.components.reshape(3, -1)
    naive = mean + ((tile - mean).ravel() @ basis.T @ basis).reshape(SIDE, SIDE)
    assert np.std(naive - truth) > 10 * np.std(estimated[0] - truth)


def test_parallel_analysis_finds_as_many_components_as_there_are():
    noisy, _ = references(20, noise=0.01)
    deviations = (noisy - noisy.mean(axis=0)).reshape(20, -1)
    assert significant_components(deviations, np.random.default_rng(1)) == 3
    pure = np.random.default_rng(2).normal(size=(20, 2304))
    assert significant_components(pure - pure.mean(axis=0), np.random.default_rng(1)) == 0


def test_the_maximum_of_dark_specimens_is_nearer_to_the_flat_field_than_the_median():
    rng = np.random.default_rng(3)
    flat = rng.normal(0, 0.1, (12, 12))
    tiles = flat - rng.exponential(0.3, (4, 12, 12))
    of_two = flats_of_sets(tiles, 2, "maximum")
    assert of_two[0] == pytest.approx(np.maximum(tiles[0], tiles[1]))
    assert np.abs(of_two - flat).mean() < 0.7 * np.abs(flats_of_sets(tiles, 2) - flat).mean()
