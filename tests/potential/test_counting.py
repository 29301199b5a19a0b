"""Counted test images: their statistics, and each row is independent of the others."""

from dataclasses import replace

import numpy as np

from tests.potential.toy import PIXEL_A, toy_samples
from workflow_scripts.potential.simulation.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.simulation.samples import MATCHED, RING

SAMPLES = toy_samples(2)


def test_counts_are_whole_electrons_with_the_mean_and_variance_of_poisson():
    dose, share = 3e3, 0.2
    flat = replace(SAMPLES, images={RING: np.full_like(SAMPLES.images[RING], share)})
    counts = measured_shares(flat, RING, dose, 0).astype(np.float64) * dose * PIXEL_A**2
    assert np.allclose(counts, counts.round(), atol=1e-3)
    expected = share * dose * PIXEL_A**2
    error = np.sqrt(expected / counts.size)
    assert abs(counts.mean() - expected) < 5 * error
    assert abs(counts.var() / expected - 1) < 5 * np.sqrt(2 / counts.size)


def test_without_noise_the_images_come_back():
    assert np.array_equal(measured_shares(SAMPLES, MATCHED, NOISE_FREE, 0), SAMPLES.images[MATCHED])


def test_the_same_seed_gives_the_same_counts_and_the_first_rows_do_not_depend_on_the_others():
    whole = measured_shares(SAMPLES, RING, 1e4, 5)
    assert np.array_equal(whole, measured_shares(SAMPLES, RING, 1e4, 5))
    assert np.array_equal(whole[:3], measured_shares(SAMPLES.rows(np.arange(3)), RING, 1e4, 5))


def test_seed_dose_row_and_detector_draw_anew():
    noise = {}
    for detector, dose, seed in ((RING, 1e4, 0), (RING, 1e4, 1), (RING, 1.0001e4, 0), (MATCHED, 1e4, 0)):
        flat = replace(SAMPLES, images={detector: np.full_like(SAMPLES.images[detector], 0.2)})
        found = measured_shares(flat, detector, dose, seed)
        noise |= {(detector, dose, seed, row): found[row].ravel() - 0.2 for row in (0, 1)}
    correlations = np.corrcoef(np.array(list(noise.values())))
    assert np.abs(correlations - np.eye(len(noise))).max() < 0.05
