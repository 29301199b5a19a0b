"""Intervals over sources."""

import numpy as np
import pytest

from workflow_scripts.study.bootstrap import bootstrap, sum_by_source
from workflow_scripts.workflow.errors import InputError


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    estimates = [bootstrap(generator.standard_normal(40), seed=k, resamples=300) for k in range(200)]
    covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert 0.88 <= covered <= 0.99


def test_sources_are_resampled_not_pixels():
    """A thousand pixels of four sources that differ: the interval is that of four numbers."""
    per_source = np.array([0.0, 1.0, 2.0, 3.0])
    rows = np.repeat(np.stack([per_source, np.ones(4)], 1), 250, axis=0)
    sums = sum_by_source(rows, np.repeat(["a", "b", "c", "d"], 250))
    estimate = bootstrap(sums, lambda s: s[:, 0].sum() / s[:, 1].sum(), seed=1)
    assert estimate.n == 4
    assert estimate.value == pytest.approx(1.5)
    assert estimate.high - estimate.low > 1.5


def test_sums_follow_their_source_in_any_order():
    rows = np.arange(10.0).reshape(5, 2)
    sums = sum_by_source(rows, ["b", "a", "b", "c", "a"])
    assert np.array_equal(sums, [rows[1] + rows[4], rows[0] + rows[2], rows[3]])


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
    with pytest.raises(InputError, match="one per row"):
        sum_by_source(np.zeros((3, 2)), ["a"])
