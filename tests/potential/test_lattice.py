"""Lattice averages: what repeats is kept, what does not is averaged away, and labels may be slightly wrong."""

import numpy as np
import pytest

from workflow_scripts.potential.evaluation.lattice import lattice_average

PIXEL_A, SIDE_PX = 0.2, 64
CELL_A = (4.0, 5.0)


def crystal(rotation_deg, phase=0.3):
    """Columns of Gaussian shape on a rotated lattice."""
    y, x = np.meshgrid(*[np.arange(SIDE_PX) * PIXEL_A] * 2, indexing="ij")
    # In the frame of the crystal
    cosine, sine = np.cos(np.radians(rotation_deg)), np.sin(np.radians(rotation_deg))
    down, across = cosine * y + sine * x, -sine * y + cosine * x
    waves = np.cos(2 * np.pi * down / CELL_A[0] + phase) + np.cos(2 * np.pi * across / CELL_A[1])
    return 100 * np.exp(2 * (waves - 2))


@pytest.mark.parametrize("rotation_deg", [0.0, 33.0, 250.0])
def test_a_crystal_is_kept_and_noise_averaged(rotation_deg):
    truth = crystal(rotation_deg)
    assert np.abs(lattice_average(truth, CELL_A, rotation_deg, PIXEL_A) - truth).max() < 0.08 * truth.max()
    noise = truth.std() * np.random.default_rng(0).standard_normal(truth.shape)
    error = lattice_average(truth + noise, CELL_A, rotation_deg, PIXEL_A) - truth
    assert error.std() < 0.4 * noise.std()


def test_labels_off_by_a_degree_and_a_per_cent_cost_nothing():
    truth = crystal(20.0)
    noisy = truth + 0.5 * truth.std() * np.random.default_rng(1).standard_normal(truth.shape)
    errors = [
        (lattice_average(noisy, np.multiply(CELL_A, scale), 20.0 + off_deg, PIXEL_A) - truth).std()
        for off_deg, scale in ((0.0, 1.0), (1.0, 1.01), (-1.5, 0.985))
    ]
    assert errors[1:] == pytest.approx([errors[0]] * 2, rel=0.02)


def test_the_mean_stays_and_noise_alone_makes_no_crystal():
    flat = np.full((SIDE_PX, SIDE_PX), 7.0)
    assert np.allclose(lattice_average(flat, CELL_A, 10.0, PIXEL_A), flat)
    noise = np.random.default_rng(2).standard_normal(flat.shape)
    average = lattice_average(noise, CELL_A, 10.0, PIXEL_A)
    assert average.std() < 0.5 * noise.std()
    assert average.mean() == pytest.approx(noise.mean(), abs=0.02)


def test_a_cell_that_fills_the_image_averages_nothing():
    noise = np.random.default_rng(2).standard_normal((SIDE_PX, SIDE_PX))
    assert np.array_equal(lattice_average(noise, (40.0, 60.0), 10.0, PIXEL_A), noise)
