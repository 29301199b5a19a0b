"""Intervals over sources."""

import numpy as np
import pytest

from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.workflow.errors import InputError


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    estimates = [bootstrap(generator.standard_normal(40), seed=k, resamples=300) for k in range(200)]
    covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert 0.88 <= covered <= 0.99


def test_sources_are_resampled_not_pixels():
    """A thousand pixels of four sources that differ: the interval is that of four numbers."""
    sums = 250 * np.stack([[0.0, 1.0, 2.0, 3.0], np.ones(4)], axis=1)
    estimate = bootstrap(sums, lambda s: s[:, 0].sum() / s[:, 1].sum(), seed=1)
    assert estimate.n == 4
    assert estimate.value == pytest.approx(1.5)
    assert estimate.high - estimate.low > 1.5


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).standard_normal(12)
    assert bootstrap(values, seed=5) == bootstrap(values, seed=5)
    assert bootstrap(values, seed=5) != bootstrap(values, seed=6)


def test_a_single_source_has_no_interval_and_none_no_value():
    estimate = bootstrap(np.array([2.0]), seed=0)
    assert (estimate.value, estimate.n) == (2.0, 1)
    assert np.isnan(estimate.low) and np.isnan(estimate.high)
    with pytest.raises(InputError, match="empty"):
        bootstrap(np.array([]), seed=0)
