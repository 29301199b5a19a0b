"""Compare two results folders: python -m tests.same_numbers OLD NEW [--values] [--names MAP.yaml].

Without --values every artifact must have equal bytes, except what describes the run itself: provenance, logs, cost.
With --values every weight tensor and every number of metrics.csv must be equal, whatever the format of the files around
them. Exit code 1 where something differs.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from safetensors.numpy import load_file

from workflow_scripts.workflow.files import sha256

# What differs between two runs of the same code.
OF_THE_RUN = (
    *("logs/*", "benchmarks/*", "*provenance*", "report.html"),
    *("tables/cost.*", "figures/overview.*"),
)
KEY = ["estimator", "condition", "seed", "metric", "statistic"]
NUMBERS = ["value", "low", "high", "n"]


def artifacts(folder: Path) -> dict[str, Path]:
    """All files of a results folder that do not measure the run itself, by their path in it."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in files.items() if not any(fnmatch(name, pattern) for pattern in OF_THE_RUN)}


def differences(old: Path, new: Path, values: bool, names: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for everything that differs.

    Args:
        values: compare weights and metrics by value, and nothing else.
        names: new paths by old paths, relative to the folders, of what was renamed; empty for what is gone.
    """
    before, after = artifacts(old), artifacts(new)
    for name in before:
        kind = name.rsplit("/", 1)[-1]
        if values and kind != "metrics.csv" and not name.endswith(".safetensors"):
            continue
        renamed = _renamed(name, names)
        if not renamed:
            continue
        if renamed not in after:
            yield f"{renamed} is missing"
        elif not values:
            if sha256(before[name]) != sha256(after[renamed]):
                yield f"{renamed} has other bytes"
        elif kind == "metrics.csv":
            yield from (f"{renamed}: {text}" for text in metric_differences(before[name], after[renamed]))
        else:
            yield from (f"{renamed}: {text}" for text in _weight_differences(before[name], after[renamed]))
    if not values:
        known = {_renamed(name, names) for name in before}
        yield from (f"{name} is new" for name in after if name not in known)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for start, other in names.items():
        if name == start or name.startswith(f"{start}/"):
            return other + name.removeprefix(start) if other else ""
    return name


def metric_differences(old: Path, new: Path) -> Iterator[str]:
    """Numbers that differ; tables without the column `headline` have rows of that condition."""
    before, after = (_numbers(path) for path in (old, new))
    for key in sorted(before.keys() | after.keys(), key=str):
        if before.get(key) != after.get(key):
            yield f"{key}: {before.get(key)} was {'expected' if key in before else 'not there'}, found {after.get(key)}"


def _numbers(path: Path) -> dict[tuple, tuple]:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "headline" in table:
        marked = table[table["headline"] == "yes"]
        means = [
            group.iloc[0].to_dict()
            | {name: _mean(group[name]) for name in ("value", "low", "high")}
            | {"condition": "headline", "seed": "", "n": min(group["n"], key=int)}
            for _, group in marked.groupby(["estimator", "metric", "statistic"])
        ]
        table = pd.concat([table, pd.DataFrame(means)])
    return {tuple(row[key] for key in KEY): tuple(row[key] for key in NUMBERS) for row in table.to_dict("records")}


def _mean(texts: pd.Series) -> str:
    return "" if "" in set(texts) else f"{np.mean(texts.astype(float)):.6g}"


def _weight_differences(old: Path, new: Path) -> Iterator[str]:
    before, after = load_file(old), load_file(new)
    if before.keys() != after.keys():
        yield "holds other tensors"
    for name in before.keys() & after.keys():
        if not np.array_equal(before[name], after[name]):
            yield f"{name} has other values"


def main() -> None:
    """Print what differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.same_numbers", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--values", action="store_true", help="compare weights and metrics by value")
    parser.add_argument("--names", type=Path, help="YAML file: new paths by old paths")
    arguments = parser.parse_args()
    names = yaml.safe_load(arguments.names.read_text(encoding="utf-8")) if arguments.names else {}
    found = list(differences(arguments.old, arguments.new, arguments.values, names))
    print("\n".join(found) or f"{arguments.new}: equal to {arguments.old}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
