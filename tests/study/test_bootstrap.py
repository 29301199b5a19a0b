"""Intervals over sources from twelve sources on, and the exact test of signs below."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workflow_scripts.study.bootstrap import FEWEST, bootstrap, sign_flip_p
from workflow_scripts.workflow.errors import InputError


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential"])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(draw):
    generator = np.random.default_rng(0)
    mean = {"standard_normal": 0.0, "standard_exponential": 1.0}[draw]
    estimates = [bootstrap(getattr(generator, draw)(40), seed=k, resamples=500) for k in range(300)]
    covered = np.mean([estimate.low <= mean <= estimate.high for estimate in estimates])
    assert 0.90 <= covered <= 0.98


def test_the_interval_follows_the_skew_of_the_sources():
    values = np.random.default_rng(1).standard_exponential(15) ** 2
    estimate = bootstrap(values, seed=0)
    assert estimate.high - estimate.value > 1.3 * (estimate.value - estimate.low)


def test_sources_are_resampled_not_pixels():
    """A thousand pixels of twelve sources that differ: the interval is that of twelve numbers."""
    values = np.arange(12.0)
    pooled = bootstrap(values, weights=np.full(12, 250.0), seed=1)
    assert pooled == bootstrap(values, seed=1)
    assert pooled.value == 5.5 and pooled.n == 12
    assert pooled.high - pooled.low > 3.5


def test_a_weighted_mean_keeps_its_sources_by_name():
    r2 = pd.Series({"cameraman": 0.5, "moon": 1.0})
    estimate = bootstrap(r2, weights=[3.0, 1.0], seed=0)
    assert estimate.value == pytest.approx(0.625)
    assert estimate.sources.to_dict("list") == {
        "source": ["cameraman", "moon"],
        "value": [0.5, 1.0],
        "weight": [3.0, 1.0],
    }
    assert bootstrap(r2.to_numpy(), seed=0).sources is None
    assert bootstrap(r2, np.median, seed=0).sources is None


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).standard_normal(12)
    assert bootstrap(values, seed=5) == bootstrap(values, seed=5)
    assert bootstrap(values, seed=5) != bootstrap(values, seed=6)


def test_fewer_than_twelve_sources_have_no_interval_and_none_no_value():
    values = np.arange(float(FEWEST))
    few, enough = bootstrap(values[:-1], seed=0), bootstrap(values, seed=0)
    assert (few.value, few.n) == (5.0, 11)
    assert np.isnan(few.low) and np.isnan(few.high)
    assert enough.low < enough.value < enough.high
    with pytest.raises(InputError, match="empty"):
        bootstrap(np.array([]), seed=0)


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_sources_that_are_equal_have_an_interval_without_width(statistic):
    estimate = bootstrap(np.full(20, 0.1), statistic, seed=0)
    assert (estimate.low, estimate.high) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([1.0, np.nan], None, "no finite number"),
        ([1.0, np.inf], None, "no finite number"),
        ([1.0, 2.0], [1.0, np.nan], "no finite number"),
        ([1.0, 2.0], [0.0, 0.0], "no source has a weight"),
    ],
)
def test_what_cannot_be_averaged_is_refused(values, weights, message):
    with pytest.raises(InputError, match=f"(?i){message}"):
        bootstrap(np.array(values), weights=weights, seed=0)


@given(st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8))
def test_the_test_of_signs_is_that_of_scipy(differences):
    differences = np.array(differences)
    if not differences.any():
        assert sign_flip_p(differences, np.ones(len(differences))) == 1
        return
    # With absolute sums both ends count, whatever the distribution.
    expected = stats.permutation_test(
        (differences,), lambda d, axis: np.abs(np.sum(d, axis=axis)).round(6), permutation_type="samples",
        alternative="greater", n_resamples=np.inf, vectorized=True,
    ).pvalue  # fmt: skip
    assert sign_flip_p(differences, np.ones(len(differences))) == pytest.approx(expected)


def test_six_sources_of_one_sign_are_the_fewest_that_decide():
    assert sign_flip_p(np.arange(1.0, 7), np.ones(6)) == 2 / 64
    assert sign_flip_p(-np.arange(1.0, 6), np.ones(5)) == 2 / 32
    assert sign_flip_p(np.array([3.0, -1.0]), np.array([1.0, 3.0])) == 1  # weighted, they cancel
