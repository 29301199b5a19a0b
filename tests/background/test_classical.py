"""Classical flat fields: what they recover exactly, and what no constant changes."""

import numpy as np
import pytest

from workflow_scripts.background.classical import (
    EigenFlats,
    gaussian_flats,
    log_of_counts,
    maximum_flats,
    median_flats,
    nearest_in_order,
    significant_components,
)

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


def test_levels_and_dark_frames_leave_the_logarithm():
    log = np.random.default_rng(0).normal(0, 0.3, (3, 20, 20))
    dark = np.random.default_rng(1).uniform(50, 100, (20, 20))
    counts = np.array([100, 2000, 7])[:, None, None] * np.exp(log) + dark
    expected = log - np.median(log, axis=(1, 2), keepdims=True)
    assert log_of_counts(counts, dark) == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(log_of_counts(np.where(log > 0.6, 0, counts), dark)).all()
    with pytest.raises(ValueError):
        log_of_counts(np.zeros((1, 8, 8)))


def test_a_constant_survives_the_blur_and_masked_pixels_do_not_matter():
    tiles = np.full((2, SIDE, SIDE), 0.7)
    assert gaussian_flats(tiles, 9) == pytest.approx(tiles, abs=1e-6)
    mask = np.ones((SIDE, SIDE), dtype=bool)
    mask[10:20, 10:20] = False
    spoilt = np.where(mask, tiles, np.nan)
    assert gaussian_flats(spoilt, 9, mask) == pytest.approx(tiles, abs=1e-6)
    with pytest.raises(ValueError):
        gaussian_flats(tiles, 1, np.zeros((SIDE, SIDE), dtype=bool))


def test_the_nearest_tiles_begin_with_the_own_one():
    assert nearest_in_order(16, 5, 4).tolist() == [5, 4, 6, 3]
    assert nearest_in_order(16, 15, 2).tolist() == [15, 14]
    with pytest.raises(ValueError):
        nearest_in_order(3, 0, 4)


def test_the_median_of_all_forgets_what_few_tiles_show():
    flat = references()[0][0]
    tiles = np.repeat(flat[None], 5, axis=0)
    tiles[0] -= specimen()
    tiles[1, :5] -= 1
    assert median_flats(tiles, 5) == pytest.approx(np.repeat(flat[None], 5, axis=0), abs=1e-6)
    assert median_flats(tiles, 2)[0] == pytest.approx((tiles[0] + tiles[1]) / 2, abs=1e-6)


def test_eigen_flats_are_exact_on_references_without_noise():
    made, _ = references()
    flats = EigenFlats.of_references(made, np.random.default_rng(0))
    assert len(flats.components) == 3
    found = flats.log_flats(made[:3], bin_px=1)
    for image, truth in zip(found, made, strict=False):
        assert meanfree(image) == pytest.approx(meanfree(truth), abs=1e-4)


def test_weights_are_recovered_beneath_a_specimen_and_ignore_a_constant():
    made, mean = references()
    flats = EigenFlats.of_references(made, np.random.default_rng(0))
    truth = mean + np.tensordot([0.2, -0.1, 0.15], modes(), axes=1)
    tile = truth - specimen()
    found = flats.log_flats(np.stack([tile, tile + 3]), bin_px=1)
    assert meanfree(found[0]) == pytest.approx(meanfree(truth), abs=2e-3)
    assert found[1] == pytest.approx(found[0], abs=1e-4)
    # Least squares alone is misled by the specimen.
    basis = flats.components.reshape(3, -1)
    naive = mean + ((tile - mean).ravel() @ basis.T @ basis).reshape(SIDE, SIDE)
    assert np.std(naive - truth) > 10 * np.std(found[0] - truth)


def test_parallel_analysis_finds_as_many_components_as_there_are():
    noisy, _ = references(20, noise=0.01)
    deviations = (noisy - noisy.mean(axis=0)).reshape(20, -1)
    assert significant_components(deviations, np.random.default_rng(1)) == 3
    pure = np.random.default_rng(2).normal(size=(20, 2304))
    assert significant_components(pure - pure.mean(axis=0), np.random.default_rng(1)) == 0
    with pytest.raises(ValueError):
        EigenFlats.of_references(noisy[:1], np.random.default_rng(0))


def test_the_maximum_of_dark_specimens_is_nearer_to_the_flat_field_than_the_median():
    rng = np.random.default_rng(3)
    flat = rng.normal(0, 0.1, (12, 12))
    tiles = flat - rng.exponential(0.3, (4, 12, 12))
    of_two = maximum_flats(tiles, 2)
    assert of_two[0] == pytest.approx(np.maximum(tiles[0], tiles[1]))
    assert np.abs(of_two - flat).mean() < 0.7 * np.abs(median_flats(tiles, 2) - flat).mean()
