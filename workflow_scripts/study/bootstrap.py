"""Bootstrap intervals over sources: photographs, materials, sessions; never over pixels or samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workflow_scripts.workflow.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A statistic with its percentile interval, and the number n of sources it rests on."""

    value: float
    low: float
    high: float
    n: int


def bootstrap(
    by_source: np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """The statistic of all sources, and its percentile interval under resampled sources.

    by_source: (S, ...) the contribution of every source; the statistic is called with resampled arrays of this form.
    With a single source there is nothing to resample: the interval is NaN.
    Efron, doi:10.1214/aos/1176344552.
    """
    by_source = np.asarray(by_source)
    if len(by_source) == 0:
        raise InputError("There is no source to average over; the test split is empty.")
    value, n = float(statistic(by_source)), len(by_source)
    if n == 1:
        return Estimate(value, float("nan"), float("nan"), 1)
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    if statistic is np.mean and by_source.ndim == 1:
        spread = by_source[draws].mean(axis=1)  # equal to the loop below
    else:
        spread = [statistic(by_source[draw]) for draw in draws]
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), n)
