"""Where a run differs from the reference run of its scale, beyond the intervals of both."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.study.documents import Section
from workflow_scripts.study.result_table import KEYS, metric_label, tidy
from workflow_scripts.study.rounding import shown
from workflow_scripts.workflow.files import read_json

# Relative tolerance of a number without an interval: machines and libraries round differently.
TOLERANCE = 0.01
COLUMNS = ["method", *KEYS, "unit", "value", "low", "high", "reference", "reference_low", "reference_high", "gap"]
# Settings without influence on the numbers
_WITHOUT_INFLUENCE = ("gpus", "checkpoint_interval_s", "folder")


def differences(run: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Numbers of both tables whose intervals do not overlap, the headline first, then the widest gap first.

    Seeds are pooled; a number without an interval gets one of ±1 % of itself. `gap` is the space between the
    intervals over the sum of their half-widths. The tables are as `read_metrics` gives them.
    """
    both = tidy(run).merge(tidy(reference).drop(columns="headline"), on=KEYS, suffixes=("", "_of_reference"))
    low, high = _bounds(both, "")
    reference_low, reference_high = _bounds(both, "_of_reference")
    space = np.maximum(low - reference_high, reference_low - high)
    widths = (high - low + reference_high - reference_low) / 2
    both["gap"] = np.where(widths > 0, space / np.where(widths > 0, widths, 1), np.where(space > 0, np.inf, 0))
    names = {f"{name}_of_reference": f"reference_{name}" for name in ("low", "high")}
    differing = both[space > 0].rename(columns=names | {"value_of_reference": "reference"})
    differing = differing.sort_values(["headline", "gap"], ascending=False, kind="stable")
    return differing.reindex(columns=COLUMNS[1:]).reset_index(drop=True)


def compared(run: Mapping[str, pd.DataFrame], reference: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
    """The differences of all methods, columns `COLUMNS`, and sentences on what could not be compared."""
    parts, sentences, common = [], [], 0
    for method, table in run.items():
        if method not in reference:
            sentences.append(f"The reference has no {method}.")
            continue
        measured, expected = (
            set(table[KEYS].itertuples(index=False, name=None)) for table in (table, reference[method])
        )
        common += len(measured & expected)
        if missing := expected - measured:
            sentences.append(f"{method}: {len(missing)} numbers are only in the reference.")
        if additional := measured - expected:
            sentences.append(f"{method}: {len(additional)} numbers are only in this run.")
        parts.append(differences(table, reference[method]).assign(method=method))
    sentences += [f"This run has no {method}." for method in reference if method not in run]
    differing = pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)
    return differing, [counted(len(differing), common), *sentences]


def counted(number: int, common: int) -> str:
    """How many numbers differ, in a sentence."""
    if not common:
        return "Nothing can be compared: the runs share no number."
    if not number:
        return f"Nothing differs: all {common} numbers agree with the reference within their intervals."
    return f"{number} of {common} numbers differ from the reference beyond their intervals."


def changed_settings(run: Path, reference: Path) -> list[str]:
    """Settings that differ between two runs, by the provenance in their folders: "matching.pretrain: epochs …"."""
    settings, expected = _settings(run), _settings(reference)
    return [
        f"{module.removeprefix('workflow_scripts.')}: {key} is {settings[module][key]!r} here and "
        f"{expected[module][key]!r} in the reference."
        for module in sorted(settings.keys() & expected.keys())
        for key in sorted(settings[module].keys() & expected[module].keys())
        if settings[module][key] != expected[module][key]
    ]


def difference_section(differing: pd.DataFrame) -> Section:
    """The differences as a table."""
    rows = [
        [
            row.method,
            row.estimator,
            row.condition.replace(";", "; ") or "any",
            metric_label(row),
            shown(row.value, row.low, row.high),
            shown(row.reference, row.reference_low, row.reference_high),
        ]
        for row in differing.itertuples()
    ]
    return Section(
        "Beyond intervals", ["method", "estimator", "condition", "metric", "this run", "reference"], rows, texts=4
    )


def aligned(section: Section, rows: int) -> Iterator[str]:
    """The first rows of a table as lines of a terminal."""
    lines = [section.columns, *section.rows[:rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    if len(section.rows) > rows:
        yield f"and {len(section.rows) - rows} more"


def _bounds(table: pd.DataFrame, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    value = table[f"value{suffix}"].to_numpy(float)
    margin = TOLERANCE * np.abs(value)
    low, high = (table[f"{name}{suffix}"].to_numpy(float) for name in ("low", "high"))
    return np.where(np.isnan(low), value - margin, low), np.where(np.isnan(high), value + margin, high)


def _settings(folder: Path) -> dict[str, dict[str, Any]]:
    """The settings of every stage that influence the numbers, as far as all jobs of the stage share them."""
    shared: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*provenance.json")):
        if "apply" in path.relative_to(folder).parts:
            continue
        record = read_json(path)
        settings = {key: value for key, value in record["settings"].items() if key not in _WITHOUT_INFLUENCE}
        known = shared.setdefault(record["module"], settings)
        shared[record["module"]] = {key: value for key, value in known.items() if settings.get(key) == value}
    return shared
