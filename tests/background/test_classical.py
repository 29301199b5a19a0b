"""Classical flat fields: what they recover exactly, and what no constant changes."""

import numpy as np
import pytest

from workflow_scripts.background.estimators.basic import log_flat
from workflow_scripts.background.estimators.eigen_flats import EigenFlats, significant_components
from workflow_scripts.background.estimators.gated import Gate, gated_flats, half_sample_mode, logs_and_variances
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


GATE = Gate(smoothing_px=1.0, brighter=5.0, softness=2.0)


def covered(count, drift=0.0, noise=0.003):
    """Log tiles, variances and log flat fields (count, H, W): each tile has the specimen somewhere else."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    flats = 0.2 * np.cos(5 * x) * y + drift * np.arange(count)[:, None, None] / count * (x - 0.5)
    moved = np.stack([np.roll(specimen(), rng.integers(0, SIDE, 2), (0, 1)) for _ in range(count)])
    tiles = flats - moved + noise * rng.normal(size=flats.shape)
    return tiles, np.full_like(tiles, noise**2), flats


def error(estimates, truths):
    return np.mean([np.std(estimate - truth) for estimate, truth in zip(estimates, truths, strict=True)])


def test_the_mode_ignores_a_specimen_that_covers_most_of_the_tile():
    rng = np.random.default_rng(0)
    values = np.concatenate([0.01 * rng.normal(size=4000), rng.uniform(-2, 0, 6000)])
    assert half_sample_mode(values) == pytest.approx(0, abs=0.01) and np.median(values) < -0.2
    assert half_sample_mode(values + 3) == pytest.approx(half_sample_mode(values) + 3)


def test_the_gate_shuts_on_both_sides():
    weights = GATE.weight(np.array([-30.0, -4.0, 0.0, 5.0, 30.0]))
    assert weights[[0, 4]].max() < 1e-3 and weights[[1, 3]] == pytest.approx(0.5, abs=0.02) and weights[2] > 0.8
    assert Gate(1.0, 1000.0, 2.0).weight(np.array([300.0])) == pytest.approx(1, abs=1e-3)


def test_the_variance_is_that_of_the_logarithm():
    light = np.full((1, 200, 200), 400.0)
    counts = np.random.default_rng(1).poisson(light + 100).astype(np.float32)
    logs, variances = logs_and_variances(counts, 100.0)
    assert logs.var() == pytest.approx(variances.mean(), rel=0.05) and variances.mean() == pytest.approx(
        500 / 400**2, rel=0.05
    )


@pytest.mark.parametrize("size", [2, 4, 16])
def test_a_gated_mean_leaves_less_specimen_than_the_median(size):
    tiles, variances, flats = covered(16)
    gate = GATE if size == 16 else Gate(1.0, 1000.0, 2.0)
    assert error(gated_flats(tiles, variances, size, gate, np.arange(16)), flats) < 0.7 * error(
        flats_of_sets(tiles, size), flats
    )


def test_constants_of_the_tiles_do_not_matter():
    tiles, variances, _ = covered(4)
    shifted = tiles + np.array([0.5, -1, 0, 2])[:, None, None]
    flats, others = (gated_flats(logs, variances, 4, GATE, np.arange(4)) for logs in (tiles, shifted))
    assert error(flats, others) < 0.01


def test_drift_is_followed():
    tiles, variances, flats = covered(16, drift=0.1)
    estimated = gated_flats(tiles, variances, 16, GATE, np.arange(16))
    change, true_change = (meanfree(images[-1] - images[0]) for images in (estimated, flats))
    assert np.std(change - true_change) < 0.1 * np.std(true_change)
    assert np.array_equal(gated_flats(tiles, variances, 16, GATE, np.array([3])), estimated[[3]])


def test_basic_finds_a_smooth_flat_field_behind_sparse_specimens():
    tiles, _, flats = covered(16)
    brightness = np.linspace(0.7, 1.3, 16)[:, None, None]
    light = 1000 * brightness * np.exp(tiles)
    found = log_flat(light, 1.0)
    assert np.std(found - flats[0]) < 0.5 * np.std(np.median(tiles, axis=0) - flats[0])
    assert log_flat(7 * light, 1.0) == pytest.approx(found, abs=1e-4)
    smoother = log_flat(light, 30.0)
    assert np.abs(np.diff(smoother, 2)).mean() < np.abs(np.diff(found, 2)).mean()
