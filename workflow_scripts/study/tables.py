"""metrics.csv: the results of every method, in one schema.

| column | meaning |
|---|---|
| estimator | published, corrected, or a baseline |
| condition | `key=value;…` sorted by key, units in the keys; empty where there is none |
| seed | of the training; empty for deterministic baselines and for numbers pooled over seeds |
| metric | its name, the gauge in it |
| statistic | `value`, or a statistic over the sources: median, p90, … |
| unit | rad, px, s, …; 1 for none |
| value, low, high | the number and its 95 % interval over the sources; empty bounds where there is none (below) |
| n | number of sources |
| headline | `yes` in the rows, one for each seed, whose condition the pages quote; else empty |

A number has no interval if it has fewer than `bootstrap.FEWEST` sources, or if it is no statistic over sources: a
closed form, a property of one object, a bound.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import check_condition
from workflow_scripts.study.rounding import number
from workflow_scripts.workflow.errors import InputError

COLUMNS = ["estimator", "condition", "seed", "metric", "statistic", "unit", "value", "low", "high", "n", "headline"]
NUMBER = ["estimator", "metric", "statistic"]
KEY = ["estimator", "condition", "seed", "metric", "statistic"]
# How claims.yaml and overview.yaml name the condition of the rows that are marked in the column `headline`.
HEADLINE = "headline"


def metric_row(
    estimator: str,
    metric: str,
    unit: str,
    estimate: Estimate | float,
    *,
    condition: str = "",
    seed: int | None = None,
    statistic: str = "value",
    n: int = 1,
) -> dict:
    """One row of metrics.csv; a bare number has no interval, and n is its number of sources.

    The key `sources` is for by_source.csv: see `by_source.write_by_source`.
    """
    if not isinstance(estimate, Estimate):
        estimate = Estimate(float(estimate), float("nan"), float("nan"), n)
    return {
        "estimator": estimator,
        "condition": condition,
        "seed": seed,
        "metric": metric,
        "statistic": statistic,
        "unit": unit,
        **vars(estimate),
        "headline": False,
    }


def with_headline(rows: list[dict], headline: str) -> list[dict]:
    """The rows, those of the headline condition marked."""
    return [row | {"headline": row["headline"] or row["condition"] == headline} for row in rows]


def headline_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The headline of every estimator, metric and statistic: one row each, value and bounds averaged over the seeds.

    The seeds share their sources, so an interval over the sources does not shrink with them.

    Args:
        table: as `read_metrics` returns it.
    """
    groups = table[table["headline"]].groupby(NUMBER, sort=False)
    means = groups[["value", "low", "high"]].agg(lambda column: column.mean(skipna=False))
    return (
        groups[["condition", "unit", "n"]]
        .agg({"condition": "first", "unit": "first", "n": "min"})
        .join(means)
        .reset_index()
    )


def under(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The rows measured under a condition, or with `HEADLINE` those of the headline.

    Args:
        table: as `read_metrics` returns it.
    """
    return table[table["headline"] if condition == HEADLINE else table["condition"] == condition]


def write_metrics(rows: list[dict] | pd.DataFrame, path: Path) -> None:
    """Check the rows and write them, sorted, with numbers of six digits: equal numbers give equal bytes."""
    table = pd.DataFrame(rows).drop(columns="sources", errors="ignore")
    table = _checked(table, path).sort_values(KEY, na_position="first", kind="stable")
    for column in ("value", "low", "high"):
        table[column] = ["" if np.isnan(value) else number(value) for value in table[column]]
    table["headline"] = np.where(table["headline"], "yes", "")
    table.to_csv(path, index=False, lineterminator="\n")


def read_metrics(path: Path) -> pd.DataFrame:
    """metrics.csv with checked columns: text, seed and n as nullable integers, numbers as float64."""
    return _checked(read_text_table(path, "a table of metrics"), path)


def read_text_table(path: Path, kind: str) -> pd.DataFrame:
    """A .csv whose cells are all text; raises InputError, which names the kind, where it cannot be read."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as {kind}: {error}") from error


def read_metrics_by_method(paths: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """Tables by the name of their method, from <method>/evaluate/metrics.csv."""
    return {path.parent.parent.name: read_metrics(path) for path in paths}


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with the types of the schema; raises InputError naming the row that breaks it."""
    table = typed(table, path, COLUMNS, ("value", "n"), optional=("low", "high"), whole=("seed", "n"))
    half_open = table["low"].isna() != table["high"].isna()
    refuse(table, half_open | (table["low"] > table["high"]), "interval without ordered bounds", path)
    refuse(table, table.duplicated(KEY), "second value for one number", path)

    marks = table["headline"].replace({"yes": True, "": False})
    refuse(table, ~marks.isin([True, False]), "headline that is neither yes nor empty", path)
    table["headline"] = marks.astype(bool)
    marked = table[table["headline"]].groupby(NUMBER)["condition"].nunique()
    conditions = pd.Series(pd.MultiIndex.from_frame(table[NUMBER]).map(marked), table.index)
    refuse(table, conditions != 1, "number without exactly one headline condition", path)
    return table


def typed(
    table: pd.DataFrame,
    path: Path,
    columns: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> pd.DataFrame:
    """A table of measurements with these columns in this order and with their types.

    Args:
        table: of any cells.
        path: of the table, for the sentence.
        columns: all of them. Those that are neither numbers nor `headline` are text, and only a condition may be empty.
        required: numbers without which a row is refused.
        optional: numbers that may be missing.
        whole: numbers that are whole and not negative; missing ones are allowed unless they are required.

    Raises:
        InputError: naming the first row that breaks this.
    """
    if sorted(table.columns) != sorted(columns):
        raise InputError(f"{path} has the columns {', '.join(table.columns)}; expected {', '.join(columns)}.")
    table = table[list(columns)].reset_index(drop=True)
    numeric = {*required, *optional, *whole}
    texts = [column for column in columns if column not in numeric and column != "headline"]
    for column in texts:
        table[column] = table[column].astype(str)
    for column in (column for column in columns if column in numeric):
        numbers, wrong = _numbers(table[column], required=column in required)
        if column in whole:
            wrong = wrong | (numbers % 1 > 0) | (numbers < 0)
        kind = "whole number ≥ 0" if column in whole else "finite number"
        refuse(table, wrong, f"{column} that is not a {kind}", path)
        table[column] = numbers.astype("Int64") if column in whole else numbers
    for column in texts:
        if column != "condition":
            refuse(table, table[column] == "", f"row with an empty {column}", path)
    for text in table["condition"].unique():
        check_condition(text)
    return table


def _numbers(column: pd.Series, required: bool) -> tuple[pd.Series, pd.Series]:
    """The column as float64, NaN where it is empty, and which of its cells are wrong."""
    empty = column.isna() | (column.astype(str) == "")
    numbers = pd.to_numeric(column.where(~empty), errors="coerce").astype("float64")
    wrong = ~np.isfinite(numbers) & ~empty
    return numbers, wrong | empty if required else wrong


def refuse(table: pd.DataFrame, wrong: pd.Series, mistake: str, path: Path) -> None:
    """Raise InputError with the mistake and the row, where a row is wrong."""
    if wrong.any():
        row = table[wrong.to_numpy(bool)].iloc[0]
        named = [*(key for key in KEY if key in row), *(key for key in ("source",) if key in row)]
        raise InputError(f"{path} holds a {mistake}: {', '.join(f'{key}={row[key]}' for key in named)}.")
