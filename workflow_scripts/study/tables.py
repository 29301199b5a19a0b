"""metrics.csv: what every method reports, in one schema.

| column | meaning |
|---|---|
| estimator | who answered: published, corrected, or a baseline |
| condition | `key=value;…` sorted by key, units in the keys; `headline` once per number; may be empty |
| seed | of the training; empty for deterministic baselines and for what is pooled over seeds |
| metric | its name, the gauge in it |
| statistic | `value`, or what was taken of it over the sources: median, p90, … |
| unit | rad, px, s, …; 1 for none |
| value, low, high | the number and its 95 % interval over the sources; empty bounds where there is none |
| n | sources that it rests on |
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.workflow.errors import InputError

COLUMNS = ["estimator", "condition", "seed", "metric", "statistic", "unit", "value", "low", "high", "n"]
TEXT = ["estimator", "condition", "metric", "statistic", "unit"]
NUMBER = ["estimator", "metric", "statistic"]
KEY = ["estimator", "condition", "seed", "metric", "statistic"]
HEADLINE = "headline"
_PAIR = re.compile(r"[A-Za-z][A-Za-z0-9_]*=[^=;,\s]+")


def number(value: float) -> str:
    """Six significant digits, the same on every machine: 27882, 0.5, 1.23457e-05."""
    return f"{value:.6g}"


def condition(**values: str | float) -> str:
    """`condition(phase_std_rad=0.5, dose_e=27882)` is "dose_e=27882;phase_std_rad=0.5"."""
    text = {key: value if isinstance(value, str) else number(value) for key, value in values.items()}
    return check_condition(";".join(f"{key}={text[key]}" for key in sorted(text)))


def check_condition(text: str) -> str:
    """The condition as given; raises InputError if it is not in the one way to write it."""
    if text in ("", HEADLINE):
        return text
    pairs = text.split(";")
    keys = [pair.split("=")[0] for pair in pairs]
    if not all(_PAIR.fullmatch(pair) for pair in pairs) or keys != sorted(set(keys)):
        raise InputError(
            f"The condition {text!r} is not in the form key=value;key=value with keys sorted and once each."
        )
    return text


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
    """One row of metrics.csv; a bare number has no interval and rests on n sources."""
    if not isinstance(estimate, Estimate):
        estimate = Estimate(float(estimate), float("nan"), float("nan"), n)
    return {
        "estimator": estimator,
        "condition": condition,
        "seed": seed,
        "metric": metric,
        "statistic": statistic,
        "unit": unit,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }


def with_headline(rows: list[dict], headline: str) -> list[dict]:
    """The rows and, for each estimator, metric and statistic, what was measured under the headline condition.

    Over the seeds value and bounds are averaged: the seeds share their sources, so an interval over the
    sources does not shrink with them.
    """
    table = pd.DataFrame([row for row in rows if row["condition"] == headline], columns=COLUMNS)
    added = []
    for _, group in table.groupby(NUMBER, sort=False):
        mean = group[["value", "low", "high"]].astype(float).mean(skipna=False)
        added.append(
            {
                **group.iloc[0].to_dict(),
                **mean.to_dict(),
                "condition": HEADLINE,
                "seed": None,
                "n": int(group["n"].min()),
            }
        )
    return rows + added


def write_metrics(rows: list[dict] | pd.DataFrame, path: Path) -> None:
    """Check the rows and write them, sorted, with numbers of six digits: equal numbers give equal bytes."""
    table = _checked(pd.DataFrame(rows), path).sort_values(KEY, na_position="first", kind="stable")
    for column in ("value", "low", "high"):
        table[column] = ["" if np.isnan(value) else number(value) for value in table[column]]
    table.to_csv(path, index=False, lineterminator="\n")


def read_metrics(path: Path) -> pd.DataFrame:
    """metrics.csv with checked columns: text, seed and n as nullable integers, numbers as float64."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table of metrics: {error}") from error
    return _checked(table, path)


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with the types of the schema; raises InputError naming the row that breaks it."""
    if sorted(table.columns) != sorted(COLUMNS):
        raise InputError(f"{path} has the columns {', '.join(table.columns)}; expected {', '.join(COLUMNS)}.")
    table = table[COLUMNS].reset_index(drop=True)
    for column in TEXT:
        table[column] = table[column].astype(str)
    for column in ("value", "low", "high"):
        numbers, wrong = _numbers(table[column], required=column == "value")
        _refuse(table, wrong, f"{column} that is no finite number", path)
        table[column] = numbers
    for column in ("seed", "n"):
        numbers, wrong = _numbers(table[column], required=column == "n")
        _refuse(table, wrong | (numbers % 1 > 0) | (numbers < 0), f"{column} that is no whole number ≥ 0", path)
        table[column] = numbers.astype("Int64")
    for column in ("estimator", "metric", "statistic", "unit"):
        _refuse(table, table[column] == "", f"row with an empty {column}", path)
    for text in table["condition"].unique():
        check_condition(text)
    half_open = table["low"].isna() != table["high"].isna()
    _refuse(table, half_open | (table["low"] > table["high"]), "interval that is none", path)
    _refuse(table, table.duplicated(KEY), "second value for one number", path)

    headlines = (table["condition"] == HEADLINE).groupby([table[column] for column in NUMBER]).transform("sum")
    _refuse(table, headlines != 1, f"number with {HEADLINE} in another count of rows than one", path)
    return table


def _numbers(column: pd.Series, required: bool) -> tuple[pd.Series, pd.Series]:
    """The column as float64, NaN where it is empty, and which of its cells are not what they must be."""
    empty = column.isna() | (column.astype(str) == "")
    numbers = pd.to_numeric(column.where(~empty), errors="coerce").astype("float64")
    wrong = ~np.isfinite(numbers) & ~empty
    return numbers, wrong | empty if required else wrong


def _refuse(table: pd.DataFrame, wrong: pd.Series, what: str, path: Path) -> None:
    if wrong.any():
        row = table[wrong.to_numpy(bool)].iloc[0]
        raise InputError(f"{path} holds a {what}: {', '.join(f'{key}={row[key]}' for key in KEY)}.")
