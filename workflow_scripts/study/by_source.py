"""by_source.csv: what every source contributes to the means of metrics.csv, so that differences can be paired.

| column | meaning |
|---|---|
| estimator, condition, seed, metric, unit | of the number in metrics.csv whose statistic is `value` or `mean` |
| source | the photograph, material, particle, session or cell of directions |
| value, weight | its value and its weight |

The number in metrics.csv is Σ weight · value / Σ weight. A pooled R² is one too: the value is the R² of the source, the
weight the power of its truth. Numbers with more than `MANY` sources are listed at the headline only.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.study.bootstrap import FEWEST, Estimate, bootstrap, sign_flip_p
from workflow_scripts.study.rounding import number, shown, three_digits
from workflow_scripts.study.tables import HEADLINE, read_text_table, refuse, typed
from workflow_scripts.workflow.errors import InputError

ABOUT = ["estimator", "condition", "seed", "metric", "unit"]
COLUMNS = [*ABOUT, "source", "value", "weight"]
# Statistics in metrics.csv that are means over sources
MEANS = ("value", "mean")
MANY = 100
# Largest p of the test of signs that decides
SIGNIFICANT = 0.05
# Points that are written out one by one
_LISTED = 4
# Of the bootstrap of paired differences
_SEED = 0
# Relative tolerance of weights, which have six digits
_ROUNDING = 1e-4


def write_by_source(rows: list[dict], path: Path, everywhere: Collection[str] | None = None) -> None:
    """Write the sources of those rows of `tables.metric_row` that are weighted means over named sources.

    everywhere: metrics that are listed under every condition, by default all; others are at the headline only.
    """
    listed = [
        row
        for row in rows
        if row.get("sources") is not None and row["statistic"] in MEANS and (row["headline"] or _small(row, everywhere))
    ]
    about = pd.DataFrame(listed, columns=ABOUT).sort_values(ABOUT, na_position="first", kind="stable")
    parts = [listed[place]["sources"] for place in about.index]
    about = about.loc[about.index.repeat([len(part) for part in parts])].reset_index(drop=True)
    sources = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS[len(ABOUT) :])
    table = _checked(pd.concat([about, sources], axis=1), path)
    table.to_csv(path, index=False, lineterminator="\n", float_format=number)


def _small(row: dict, everywhere: Collection[str] | None) -> bool:
    return len(row["sources"]) <= MANY and (everywhere is None or row["metric"] in everywhere)


def read_by_source(path: Path) -> pd.DataFrame:
    """by_source.csv with checked columns: text, seed as nullable integers, numbers as float64."""
    return _checked(read_text_table(path, "a table of sources"), path)


def read_by_source_by_method(paths: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """Tables by the name of their method, from <method>/evaluate/by_source.csv."""
    return {path.parent.parent.name: read_by_source(path) for path in paths}


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    table = typed(table, path, COLUMNS, ("value", "weight"), whole=("seed",))
    refuse(table, table["weight"] < 0, "negative weight", path)
    refuse(table, table.duplicated(["estimator", "condition", "seed", "metric", "source"]), "source twice", path)
    return table


def sources_under(by_source: pd.DataFrame, metrics: pd.DataFrame, metric: str, condition: str) -> pd.DataFrame:
    """The rows of a metric under a condition, or with `HEADLINE` those of every estimator's headline.

    by_source, metrics: as `read_by_source` and `read_metrics` return them.
    """
    rows = by_source[by_source["metric"] == metric]
    if condition != HEADLINE:
        return rows[rows["condition"] == condition]
    marked = metrics[metrics["headline"] & (metrics["metric"] == metric)]
    places = pd.MultiIndex.from_frame(marked[["estimator", "condition"]])
    return rows[pd.MultiIndex.from_frame(rows[["estimator", "condition"]]).isin(places)]


@dataclass(frozen=True)
class Difference:
    """The paired difference of two estimators.

    estimate: weighted mean over the sources, with its interval from `FEWEST` sources on.
    p: of the exact sign-flip test where there are fewer; else NaN.
    """

    estimate: Estimate
    p: float

    @property
    def can_decide(self) -> bool:
        """Whether there are enough sources for any difference to be significant."""
        return self.estimate.n >= FEWEST or 2 / 2**self.estimate.n <= SIGNIFICANT

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero, or of few sources p is small."""
        if self.estimate.n < FEWEST:
            return self.p <= SIGNIFICANT
        return self.estimate.low > 0 or self.estimate.high < 0

    def __str__(self) -> str:
        """``-0.012 [-0.02, -0.004]``; of few sources the mean with the points or their range, and p."""
        value, low, high, n = (getattr(self.estimate, name) for name in ("value", "low", "high", "n"))
        if n >= FEWEST:
            return shown(value, low, high)
        points = self.estimate.sources["value"]
        if n <= _LISTED:
            texts = ", ".join(map(three_digits, points))
        else:
            texts = f"{three_digits(points.min())} to {three_digits(points.max())}"
        return f"{three_digits(value)} ({texts}; p = {self.p:.2g})"


def paired_difference(first: pd.DataFrame, second: pd.DataFrame, factor: float = 1.0, plus: float = 0.0) -> Difference:
    """Weighted mean of first − (factor · second + plus) over common sources, after the mean over the seeds of each.

    Args:
        first, second: rows of by_source.csv of two estimators, of one metric under one condition each.
        factor, plus: of the second, and what is added to it.

    Raises:
        InputError: they have no source in common, or weigh one differently.
    """
    means = [rows.groupby("source", sort=True)[["value", "weight"]].mean() for rows in (first, second)]
    both = means[0].merge(means[1], left_index=True, right_index=True, suffixes=("", "_of_second"))
    names = [" and ".join(sorted(set(rows["estimator"]))) for rows in (first, second)]
    if both.empty:
        raise InputError(f"by_source.csv holds no common source of {names[0]} and {names[1]}; evaluate them again.")
    if not np.allclose(both["weight"], both["weight_of_second"], rtol=_ROUNDING):
        raise InputError(
            f"by_source.csv weighs a source of {names[0]} and {names[1]} differently; compare a metric whose weights"
            " depend on the source alone."
        )
    differences = both["value"] - (factor * both["value_of_second"] + plus)
    estimate = bootstrap(differences, weights=both["weight"], seed=_SEED)
    p = sign_flip_p(differences, both["weight"]) if estimate.n < FEWEST else float("nan")
    return Difference(estimate, p)
