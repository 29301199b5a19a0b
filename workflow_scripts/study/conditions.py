"""Conditions of a measurement, as `key=value;…` with sorted keys and units in the keys."""

import re
from collections.abc import Sequence

import pandas as pd

from workflow_scripts.study.rounding import number
from workflow_scripts.workflow.errors import InputError

_PAIR = re.compile(r"[A-Za-z][A-Za-z0-9_]*=[^=;,/\s]+")


def condition(**values: str | float) -> str:
    """`condition(phase_std_rad=0.5, dose_e=27882)` is "dose_e=27882;phase_std_rad=0.5"; without values "" ."""
    texts = {key: value if isinstance(value, str) else number(value) for key, value in values.items()}
    return check_condition(";".join(f"{key}={texts[key]}" for key in sorted(texts)))


def check_condition(text: str) -> str:
    """Return the condition unchanged; raises InputError if it is not in canonical form."""
    pairs = text.split(";") if text else []
    keys = [pair.split("=")[0] for pair in pairs]
    if not all(_PAIR.fullmatch(pair) for pair in pairs) or keys != sorted(set(keys)):
        raise InputError(
            f"The condition {text!r} is not in the form key=value;key=value with keys sorted and once each."
        )
    return text


def parse_condition(text: str) -> dict[str, str]:
    """The values of a condition by key, the inverse of `condition`; raises InputError as `check_condition` does."""
    return dict(pair.split("=") for pair in check_condition(text).split(";")) if text else {}


def with_condition_columns(table: pd.DataFrame, texts: Sequence[str] = (), numbers: Sequence[str] = ()) -> pd.DataFrame:
    """The table with a column for each of these keys of its conditions.

    Args:
        table: has a column `condition`.
        texts: keys whose values are text; missing where a condition has no such key.
        numbers: keys whose values are numbers; NaN where a condition has no such key.
    """
    conditions = [parse_condition(text) for text in table["condition"]]
    columns = {key: pd.Series([values.get(key) for values in conditions], dtype=object) for key in texts}
    columns |= {key: pd.Series([values.get(key) for values in conditions], dtype=float) for key in numbers}
    return table.reset_index(drop=True).assign(**columns)
