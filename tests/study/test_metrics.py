"""Gauge-named metrics: what they ignore and what they must not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.study.metrics import patch_misfit, patch_r2, phase_rmse_rad_meanfree
from workflow_scripts.workflow.errors import InputError


def patches(seed):
    return np.random.default_rng(seed).standard_normal((5, 37))


@given(st.floats(-100, 100), st.integers(0, 99))
def test_an_offset_of_a_patch_costs_nothing(offset, seed):
    true = patches(seed)
    shifted = true + offset * np.arange(5)[:, None]
    assert patch_r2(patch_misfit(shifted, true)) == pytest.approx(np.ones(5))
    assert phase_rmse_rad_meanfree(true[0] + offset, true[0]) == pytest.approx(0.0, abs=1e-12)


def test_zeros_score_nothing_and_half_the_contrast_three_quarters():
    true = patches(0)
    assert patch_r2(patch_misfit(np.zeros_like(true), true)) == pytest.approx(np.zeros(5))
    assert patch_r2(patch_misfit(0.5 * true, true)) == pytest.approx(np.full(5, 0.75))


def test_weighted_by_their_power_patches_are_pooled_not_averaged():
    true = patches(1) * np.array([10, 1, 1, 1, 1])[:, None]
    predicted = true.copy()
    predicted[1:] = 0
    misfit = patch_misfit(predicted, true)
    pooled = 1 - misfit[:, 0].sum() / misfit[:, 1].sum()
    assert np.average(patch_r2(misfit), weights=misfit[:, 1]) == pytest.approx(pooled)


def test_rmse_of_zeros_is_the_standard_deviation_over_what_is_covered():
    truth = patches(3)
    image = np.zeros_like(truth)
    image[:2] = np.nan
    assert phase_rmse_rad_meanfree(image, truth) == pytest.approx(truth[2:].std())


def test_what_means_nothing_is_refused():
    with pytest.raises(InputError, match="no contrast"):
        patch_r2(patch_misfit(patches(0), np.ones((5, 37))))
    with pytest.raises(InputError, match="expected"):
        patch_misfit(patches(0), patches(0)[:4])
    with pytest.raises(InputError, match="one shape"):
        phase_rmse_rad_meanfree(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(InputError, match="no covered pixel"):
        phase_rmse_rad_meanfree(np.full((3, 3), np.nan), np.zeros((3, 3)))
