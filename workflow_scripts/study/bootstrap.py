"""Intervals and tests over sources: photographs, materials, sessions; never over pixels or samples.

From `FEWEST` sources on a statistic has a BCa bootstrap interval. Fewer sources have none, since resamples of so few
hold less than they claim: there the differences of two estimators are tested by their signs, exactly.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from workflow_scripts.workflow.errors import InputError

# Sources from which on there is an interval
FEWEST = 12
# Resamples in memory at a time
_BATCH = 500


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval, NaN where there is none, and the number n of sources it rests on.

    sources: of a weighted mean over sources with names: columns source, value, weight.
    """

    value: float
    low: float
    high: float
    n: int
    sources: pd.DataFrame | None = field(default=None, compare=False, repr=False)


def bootstrap(
    by_source: Sequence[float] | pd.Series,
    statistic: Callable[..., np.ndarray] = np.mean,
    *,
    weights: Sequence[float] | None = None,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """The statistic of all sources, by default their mean, and from `FEWEST` sources on its BCa interval.

    Where the BCa interval does not exist, as for sources that are all equal, it is that of percentiles.
    Efron, doi:10.1080/01621459.1987.10478410.

    Args:
        by_source: (S,) a number for each source; the index of a series names the sources.
        statistic: called with (…, S) resampled numbers and `axis=-1`.
        weights: (S,) of a weighted mean.

    Raises:
        InputError: there is no source, or one without a finite number.
    """
    values = np.asarray(by_source)
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    if len(values) == 0:
        raise InputError("There is no source to average over; the test split is empty.")
    if not (np.isfinite(values).all() and np.isfinite(shares).all()):
        raise InputError("A source has no finite number, so there is nothing to average.")
    if not shares.sum() > 0:
        raise InputError("No source has a weight, so there is nothing to average.")

    def of(index: np.ndarray, axis: int = -1) -> np.ndarray:
        if statistic is np.mean:
            return (shares * values)[index].sum(axis) / shares[index].sum(axis)
        return statistic(values[index], axis=axis)

    everything = np.arange(len(values))
    low, high = _bca_interval(everything, of, seed, resamples, level) if len(values) >= FEWEST else (np.nan, np.nan)
    sources = None
    if isinstance(by_source, pd.Series) and statistic is np.mean:
        sources = pd.DataFrame({"source": by_source.index.astype(str), "value": values, "weight": shares})
    return Estimate(float(of(everything)), float(low), float(high), len(values), sources)


def _bca_interval(
    index: np.ndarray, of: Callable[..., np.ndarray], seed: int, resamples: int, level: float
) -> tuple[float, float]:
    from scipy import stats  # slow to import, and most that import this module need only `Estimate`

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate data, which the caller need not know
        result = stats.bootstrap(
            (index,),
            of,
            vectorized=True,
            n_resamples=resamples,
            batch=_BATCH,
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    bounds = result.confidence_interval
    if np.isfinite(bounds).all():
        return bounds
    return np.nanquantile(result.bootstrap_distribution, [(1 - level) / 2, (1 + level) / 2])


def sign_flip_p(differences: np.ndarray, weights: np.ndarray) -> float:
    """Two-sided p of the weighted mean of differences (S,), exact over all 2^S signs; S < `FEWEST`.

    Under the null hypothesis a difference is as likely as its negative. The smallest p is 2 / 2^S: less than six
    sources never give 0.05.
    """
    signs = 1 - 2 * ((np.arange(2 ** len(differences))[:, None] >> np.arange(len(differences))) & 1)  # (2^S, S)
    sums = np.abs(signs @ (np.asarray(weights) * np.asarray(differences)))
    # Sums that differ by rounding alone are equal.
    return float(np.mean(sums >= sums[0] * (1 - 1e-9)))
