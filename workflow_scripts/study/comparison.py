"""Compare a run with the reference run of its scale, which git keeps in results/reference/<scale>.

A number differs where the intervals of both do not overlap.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from workflow_scripts.study.documents import Section, markdown
from workflow_scripts.study.result_table import KEYS, metric_labels, readable_conditions, tidy
from workflow_scripts.study.rounding import number, shown
from workflow_scripts.study.tables import read_metrics_by_method
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.settings import ScaleChoice

# Relative tolerance of a number without an interval: machines and libraries round differently.
TOLERANCE = 0.01
COLUMNS = ["method", *KEYS, "unit", "value", "low", "high", "reference", "reference_low", "reference_high", "gap"]
# Lines of the table that a terminal shows
SHORT = 20
# Settings without influence on the numbers
_WITHOUT_INFLUENCE = ("gpus", "checkpoint_interval_s", "folder")


class Arguments(ScaleChoice):
    """The two runs to compare."""

    folder: str = Field(min_length=1, description="results/<scale>, whose provenance names the settings.")
    reference_folder: str = Field(min_length=1, description="results/reference/<scale>.")


def publish(job: Job[Arguments]) -> None:
    """Write the differences as CSV, as Markdown, and abridged for a terminal."""
    scale, folder = job.arguments.scale, job.arguments.reference_folder
    run, reference = (read_metrics_by_method(job.inputs.get(name, [])) for name in ("metrics", "reference"))
    differing, lines = compared(run, reference)
    if not reference:
        lines = [f"There is no reference run of the scale {scale} in {folder}, so there is nothing to compare with."]
        if scale != "smoke":
            lines.append(f"`make reference SCALE={scale}` keeps this run as one.")
    elif changed := changed_settings(Path(job.arguments.folder), Path(folder)):
        lines += ["Settings that differ:", *changed]
    differing.to_csv(job.outputs["csv"], index=False, lineterminator="\n", float_format=number)
    sections = [difference_section(differing)] if len(differing) else []
    text = markdown(f"Against the reference, scale {scale}", "\n\n".join(lines), sections)
    job.outputs["md"].write_text(text, encoding="utf-8")
    for section in sections:
        lines += ["", *aligned(section.table, SHORT)]
    job.outputs["short"].write_text("\n".join(lines) + "\n", encoding="utf-8")


def differences(run: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Numbers of both tables whose intervals do not overlap, the headline first, then the widest gap first.

    Seeds are averaged; a number without an interval gets one of ±1 % of its value. `gap` is the distance between the
    intervals over the sum of their half-widths. The tables are as `read_metrics` gives them.
    """
    both = tidy(run).merge(tidy(reference).drop(columns="headline"), on=KEYS, suffixes=("", "_of_reference"))
    low, high = _bounds(both, "")
    reference_low, reference_high = _bounds(both, "_of_reference")
    distance = np.maximum(low - reference_high, reference_low - high)
    half_widths = (high - low + reference_high - reference_low) / 2
    relative = distance / np.where(half_widths > 0, half_widths, 1)
    both["gap"] = np.where(half_widths > 0, relative, np.where(distance > 0, np.inf, 0))
    names = {f"{name}_of_reference": f"reference_{name}" for name in ("low", "high")}
    differing = both[distance > 0].rename(columns=names | {"value_of_reference": "reference"})
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
    values, references = (
        [shown(*row) for row in differing[columns].itertuples(index=False)]
        for columns in (["value", "low", "high"], ["reference", "reference_low", "reference_high"])
    )
    table = pd.DataFrame(
        {
            "method": differing["method"],
            "estimator": differing["estimator"],
            "condition": readable_conditions(differing["condition"]),
            "metric": metric_labels(differing),
            "this run": values,
            "reference": references,
        }
    )
    return Section("Beyond intervals", table, texts=4)


def aligned(table: pd.DataFrame, rows: int) -> Iterator[str]:
    """The first rows of a table of texts as lines of a terminal."""
    lines = [list(table), *table.head(rows).itertuples(index=False, name=None)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    if len(table) > rows:
        yield f"and {len(table) - rows} more"


def _bounds(table: pd.DataFrame, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    value = table[f"value{suffix}"].to_numpy(float)
    margin = TOLERANCE * np.abs(value)
    low, high = (table[f"{name}{suffix}"].to_numpy(float) for name in ("low", "high"))
    return np.where(np.isnan(low), value - margin, low), np.where(np.isnan(high), value + margin, high)


def _settings(folder: Path) -> dict[str, dict[str, Any]]:
    """By stage the settings that influence the numbers and have the same value in all its jobs."""
    shared: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*provenance.json")):
        if "apply" in path.relative_to(folder).parts:
            continue
        record = read_json(path)
        settings = {key: value for key, value in record["settings"].items() if key not in _WITHOUT_INFLUENCE}
        known = shared.setdefault(record["module"], settings)
        shared[record["module"]] = {key: value for key, value in known.items() if settings.get(key) == value}
    return shared


if __name__ == "__main__":
    Command(
        publish,
        Arguments,
        inputs={"metrics": "Metrics of every method of this run (.csv)."},
        optional_inputs={"reference": "Metrics of every method of the reference (.csv)."},
        outputs={
            "csv": "What differs (.csv).",
            "md": "What differs, as Markdown.",
            "short": "The same for a terminal (.txt).",
        },
    ).main()
