"""Ridge deconvolution against what is linear, and against the noise that it takes into account without drawing it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import correlate

from tests.potential.toy import PIXEL_A, toy_samples
from workflow_scripts.potential.estimators import ridge
from workflow_scripts.potential.simulation.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.simulation.samples import FILLED, RING
from workflow_scripts.workflow.errors import InputError

# Of quarter turns and of a mirror: the only filters that treat all segments alike
_FIRST = np.random.default_rng(3).standard_normal((3, 3))
KERNEL = np.stack([np.rot90(_FIRST + _FIRST.T, segment) for segment in range(4)])
OFFSET = 17.0


def linear_samples(seed: int, side_px: int = 24):
    """White images, and potentials that a filter of 3 x 3 makes of them."""
    samples = toy_samples(3, side_px, seed)
    samples = samples.rows(samples.kind == FILLED)
    images = np.random.default_rng(seed).uniform(0.1, 0.3, samples.images[RING].shape).astype(np.float32)
    filtered = [
        sum(correlate(part.astype(float), k, mode="mirror") for part, k in zip(image, KERNEL, strict=True))
        for image in images
    ]
    potential = (np.array(filtered) + OFFSET) * samples.thickness_nm[:, None, None]
    return replace(samples, images={RING: images}, potential=potential)


def fitted(samples, dose, kernel_px=(3,), thickness_nm=10.0):
    equations = ridge.NormalEquations([samples], RING, kernel_px)
    return equations.solve(dose * PIXEL_A**2, thickness_nm, equations.choose(dose * PIXEL_A**2))


def test_a_linear_filter_is_found_exactly_and_applied_up_to_the_edges():
    fit = fitted(linear_samples(0), NOISE_FREE)
    assert np.allclose(fit.kernel, KERNEL, atol=1e-4)
    assert fit.offset == pytest.approx(OFFSET, abs=1e-3)
    fresh = linear_samples(1)
    predicted = ridge.apply(fit, fresh.images[RING], fresh.thickness_nm)
    assert np.allclose(predicted, fresh.potential, rtol=1e-3)


def test_a_larger_kernel_finds_the_same_filter_in_its_middle_and_a_smaller_one_is_not_chosen():
    fit = fitted(linear_samples(0), NOISE_FREE, kernel_px=(5,))
    assert np.allclose(fit.kernel[:, 1:-1, 1:-1], KERNEL, atol=1e-3)
    assert np.abs(fit.kernel[:, 0]).max() < 1e-3
    assert ridge.NormalEquations([linear_samples(0)], RING, (1, 3)).choose(np.inf).kernel_px == 3


def test_the_filter_follows_the_thickness():
    """Twice the filter at 40 nm: a narrow bandwidth is chosen, and either thickness gets its filter."""
    samples = linear_samples(0)
    thick = samples.thickness_nm == 40
    samples = replace(samples, potential=samples.potential * np.where(thick, 2, 1)[:, None, None])
    for thickness_nm, factor in ((10.0, 1), (40.0, 2), (80.0, 2)):
        assert np.allclose(fitted(samples, NOISE_FREE, thickness_nm=thickness_nm).kernel, factor * KERNEL, atol=1e-3)


def test_a_quarter_turn_of_the_scan_turns_the_potential():
    samples = linear_samples(0)
    shares = samples.images[RING][:2]
    fit = fitted(samples, 1e4)
    turned = np.roll(np.rot90(shares, 1, (2, 3)), 1, axis=1)
    upright = ridge.apply(fit, shares, samples.thickness_nm[:2])
    assert np.allclose(ridge.apply(fit, turned, samples.thickness_nm[:2]), np.rot90(upright, 1, (1, 2)))


def test_noise_that_is_averaged_over_fits_as_noise_that_is_drawn():
    """Least squares on many drawn counts gives the weights of the closed form, which shrink with the noise."""
    samples, dose = linear_samples(0), 2e3
    drawn = [replace(samples, images={RING: measured_shares(samples, RING, dose, seed)}) for seed in range(12)]
    equations = ridge.NormalEquations(drawn, RING, (3,))
    by_counts = equations.solve(np.inf, 10.0, equations.choose(np.inf))
    expected = fitted(samples, dose)
    clean = fitted(samples, NOISE_FREE)
    assert np.abs(clean.kernel - expected.kernel).max() > 0.3
    assert np.abs(by_counts.kernel - expected.kernel).max() < 0.1


def test_less_dose_never_gives_larger_weights():
    samples = linear_samples(0)
    norms = [np.linalg.norm(fitted(samples, dose).kernel) for dose in (1e2, 1e3, 1e4, 1e5)]
    assert norms == sorted(norms)


def test_the_penalty_is_chosen_on_orientations_that_do_not_fit():
    """Targets that do not depend on the images: a large penalty is chosen."""
    samples = linear_samples(0)
    noise = 1e3 * np.random.default_rng(7).standard_normal(samples.potential.shape)
    assert ridge.NormalEquations([samples], RING, (3,)).choose(np.inf).penalty < 1e-3
    random = replace(samples, potential=noise)
    assert ridge.NormalEquations([random], RING, (3,)).choose(np.inf).penalty >= 1


def test_too_few_orientations_and_too_large_kernels_are_refused_in_one_sentence():
    samples = linear_samples(0)
    single = samples.rows(np.char.endswith(samples.specimen, "-0"))
    with pytest.raises(InputError, match="two orientations"):
        fitted(single, NOISE_FREE)
    with pytest.raises(InputError, match=r"ridge\.kernel_px"):
        fitted(samples, NOISE_FREE, kernel_px=(3, 51))
