"""Paired differences of all estimators: who is best, who is not significantly worse, what an arm gains over each.

``python -m workflow_scripts.study.paired results/laptop alignment rotation_error_deg_mod180 --statistic mean`` prints
them for any metric and condition.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from workflow_scripts.study.by_source import (
    MEANS,
    Difference,
    paired_difference,
    read_by_source,
    sources_under,
)
from workflow_scripts.study.documents import Section, markdown
from workflow_scripts.study.rounding import shown
from workflow_scripts.study.tables import HEADLINE, read_metrics, under
from workflow_scripts.workflow.errors import InputError

BEST, NOT_WORSE, WORSE, UNDECIDED, GIVEN_MORE = "best", "not significantly worse", "worse", "undecided", "given more"
ARMS = ("corrected", "published")


def standings(
    metrics: pd.DataFrame,
    by_source: pd.DataFrame,
    metric: str,
    statistic: str = "value",
    condition: str = HEADLINE,
    better: Literal["higher", "lower"] = "lower",
    arms: Sequence[str] = ARMS,
    given_more: Sequence[str] = (),
) -> pd.DataFrame:
    """Every estimator against the best one and the arms, in the order of the metrics.

    Args:
        metrics, by_source: as `read_metrics` and `read_by_source` return them.
        metric, statistic, condition: of the numbers; the condition may be `HEADLINE`.
        better: which values are better.
        arms: estimators whose differences to all others are wanted.
        given_more: those that are given more than the others (the truth, references, more images), so that none of them
            is the best.

    Returns:
        by estimator: value, low, high and n, seeds averaged; standing: best, not significantly worse, worse, given
        more, or undecided where the sources are too few or not listed; the paired differences `to_best` (its own less
        the best) and those of each arm under its name (the arm's less its own), None where there is none.

    Raises:
        InputError: nothing was measured.
    """
    rows = under(metrics, condition)
    rows = rows[(rows["metric"] == metric) & (rows["statistic"] == statistic)]
    if rows.empty:
        raise InputError(f"metrics.csv holds no {metric}, {statistic}, under the condition {condition!r}.")
    table = rows.groupby("estimator", sort=False).agg(
        unit=("unit", "first"), value=("value", "mean"), low=("low", "mean"), high=("high", "mean"), n=("n", "min")
    )
    listed = sources_under(by_source, metrics, metric, condition)
    sources = dict(iter(listed.groupby("estimator"))) if statistic in MEANS else {}
    values = table["value"].drop(index=table.index.intersection(given_more))
    if values.empty:
        raise InputError(f"No estimator of {metric} is left to be ranked.")
    best = values.idxmax() if better == "higher" else values.idxmin()
    table["to_best"] = [_difference(sources, name, best) for name in table.index]
    table["standing"] = [BEST if name == best else _standing(table["to_best"][name]) for name in table.index]
    table.loc[table.index.isin(given_more), "standing"] = GIVEN_MORE
    for arm in arms:
        table[arm] = [_difference(sources, arm, name) for name in table.index]
    return table


def _difference(sources: Mapping[str, pd.DataFrame], first: str, second: str) -> Difference | None:
    if first == second or not {first, second} <= sources.keys():
        return None
    return paired_difference(sources[first], sources[second])


def _standing(to_best: Difference | None) -> str:
    if to_best is None or not to_best.can_decide:
        return UNDECIDED
    return WORSE if to_best.is_significant else NOT_WORSE


def leaders(table: pd.DataFrame) -> list[str]:
    """The best estimator of `standings` and all that are not significantly worse; none where nothing is decided."""
    if not table["standing"].isin([NOT_WORSE, WORSE]).any():
        return []
    return table.index[table["standing"].isin([BEST, NOT_WORSE])].tolist()


def paired_section(table: pd.DataFrame, metric: str, order: Sequence[str] = (), arms: Sequence[str] = ARMS) -> Section:
    """The `standings` of a metric as texts; order: of the estimators, further ones follow; arms: as in `standings`."""
    table = table.loc[[*(name for name in order if name in table.index), *table.index.difference(order, sort=False)]]
    values = [shown(*row) for row in table[["value", "low", "high"]].itertuples(index=False)]
    best = table.index[table["standing"] == BEST][0]
    columns = {"to_best": f"− {best}"} | {arm: f"{arm} − it" for arm in arms}
    texts = {head: ["–" if item is None else str(item) for item in table[name]] for name, head in columns.items()}
    cells = {"estimator": table.index, f"{metric} ({table['unit'].iloc[0]})": values, "n": table["n"].astype(str)}
    return Section(f"Paired differences: {metric}", pd.DataFrame(cells | {"standing": table["standing"]} | texts))


def main() -> None:
    """Print the paired differences of one metric."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.study.paired", description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<scale>")
    parser.add_argument("method")
    parser.add_argument("metric")
    parser.add_argument("--statistic", default="value", help="statistic in metrics.csv")
    parser.add_argument("--condition", default=HEADLINE, help="condition in metrics.csv, or headline")
    parser.add_argument("--better", choices=["higher", "lower"], default="lower")
    parser.add_argument("--given-more", nargs="*", default=[], help="those of which none can be the best")
    options = parser.parse_args()
    folder = options.folder / options.method / "evaluate"
    try:
        metrics, by_source = read_metrics(folder / "metrics.csv"), read_by_source(folder / "by_source.csv")
        numbers = options.metric, options.statistic, options.condition, options.better
        table = standings(metrics, by_source, *numbers, given_more=options.given_more)
    except InputError as error:
        sys.exit(f"error: {error}")
    introduction = f"Condition: {options.condition}. In front: {', '.join(leaders(table)) or 'undecided'}."
    print(markdown(options.method, introduction, [paired_section(table, options.metric)]))


if __name__ == "__main__":
    main()
