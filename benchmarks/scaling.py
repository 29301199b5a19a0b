"""Measure how the CPU time and the memory of every stage grow with its data, and where the study's own sizes lead.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --methods matching --write docs/performance.md

For each method a copy of the project runs the corrected arm, with the laptop's networks, at three sizes: ×1, ×2 and ×4
of `SIZES`. A line is fitted through the three CPU times and the three peaks of memory of each kind of job; the last
column is the largest distance of a CPU time from its line. Wall times are not used: others may share the cores.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.resources import write
from tests.workflow.running import copy_project, snakemake
from workflow_scripts.workflow.reference import merged

BEGIN, END = "<!-- measured by benchmarks.scaling -->", "<!-- end of the slopes -->"
FACTORS = (1, 2, 4)
# Settings by dotted key at ×1, which grow by the factor.
SIZES = {
    "diffractive_imaging": {"synthesize.samples_per_shard": 2500, "synthesize.test_samples": 125},
    "potential": {"synthesize.orientations": 1, "synthesize.test_orientations": 1},
    "alignment": {
        "synthesize.train_images": 75,
        "synthesize.test_images": 75,
        "pretrain.pairs": 480,
        "finetune.pairs": 240,
    },
    "background": {
        "synthesize.instruments": 16,
        "synthesize.test_instruments": 2,
        "pretrain.pairs": 480,
        "finetune.pairs": 240,
    },
    "matching": {
        "synthesize.train_patterns": 500,
        "synthesize.gallery": 500,
        "synthesize.queries": 50,
        "pretrain.patterns": 640,
        "finetune.pairs": 640,
    },
}
# Settings that stay, so that the measurement is short.
SHORTER = {
    "diffractive_imaging": {
        "synthesize.train_shards": 1,
        "synthesize.scan.photographs": 1,
        "synthesize.scan.crystals": [],
        "synthesize.scan.perturbed": False,
        "synthesize.test_phase_std_rad": [0.5],
        "synthesize.test_dose_e": [27882.0],
        "synthesize.scan.points": 44,
        "pretrain.epochs": 4,
        "pretrain.epoch_by_hand": 4,
        "evaluate.baselines": ["ridge"],
        "evaluate.ablations": [],
    },
    "potential": {
        "synthesize.train_shards": 1,
        "synthesize.materials": ["GaN", "SrTiO3"],
        "synthesize.thickness_nm": [5.0, 10.0],
        "synthesize.views": 1,
        "pretrain.epochs": 30,
        "evaluate.baselines": ["ridge"],
        "evaluate.convergence.field_a": [8.0],
        "evaluate.convergence.thickness_nm": [20.0],
        "evaluate.convergence.pixel_a": [0.16, 0.13],
        "evaluate.convergence.pixel_thickness_nm": [10.0],
        "evaluate.headline_thickness_nm": 10.0,
    },
    "alignment": {"pretrain.epochs": 2, "evaluate.baselines": ["polar_pairwise"], "evaluate.average_sizes": [10, 30]},
    "background": {
        "synthesize.train_shards": 1,
        "pretrain.epochs": 2,
        "predict.curve_steps": [1, 2],
        "evaluate.baselines": ["median_2"],
    },
    "matching": {
        "synthesize.train_shards": 1,
        "pretrain.epochs": 2,
        "finetune.epochs": 2,
        "evaluate.baselines": ["polar_template"],
        "evaluate.ablations": [],
    },
}
# What of SIZES the data of each kind of job is counted in; training sees its samples once an epoch.
COUNTED_IN = {
    "diffractive_imaging": {"test": "synthesize.test_samples", "else": "synthesize.samples_per_shard"},
    "potential": {"test": "synthesize.test_orientations", "else": "synthesize.orientations"},
    "alignment": {
        "test": "synthesize.test_images",
        "train": "synthesize.train_images",
        "pretrain": "pretrain.pairs",
        "finetune": "finetune.pairs",
    },
    "background": {
        "test": "synthesize.test_instruments",
        "train": "synthesize.instruments",
        "pretrain": "pretrain.pairs",
        "finetune": "finetune.pairs",
    },
    "matching": {
        "test": "synthesize.queries",
        "train": "synthesize.train_patterns",
        "pretrain": "pretrain.patterns",
        "finetune": "finetune.pairs",
    },
}
JOBS = {  # of a method: kind of job → its provenance and what it is counted by
    "synthesize train": ("synthesize/train/shard0.provenance.json", "train"),
    "synthesize test": ("synthesize/test/shard0.provenance.json", "test"),
    "pretrain": ("pretrain/corrected/seed0/provenance.json", "pretrain"),
    "finetune": ("finetune/corrected/seed0/provenance.json", "finetune"),
    "predict": ("predict/corrected/seed0/provenance.json", "test"),
    "evaluate": ("evaluate/provenance.json", "test"),
}
COLUMNS = (
    *("method", "job", "counted in", "×1", "CPU s at ×1, ×2, ×4", "CPU s = start + slope · thousand"),
    *("MB at ×1, ×2, ×4", "MB a thousand", "farthest from the line"),
)


@dataclass(frozen=True)
class Line:
    """A straight line through three points, and the largest distance of a point from it as a share of its value."""

    start: float
    slope: float
    farthest: float


def line(sizes: Sequence[float], values: Sequence[float]) -> Line:
    """Least squares; slope per unit of `sizes`."""
    slope, start = np.polyfit(sizes, values, 1)
    residual = np.abs(np.polyval([slope, start], sizes) - values) / np.abs(values)
    return Line(float(start), float(slope), float(residual.max()))


def overlay(method: str, factor: int) -> dict:
    """The configuration of one measurement: the laptop's networks and settings with fewer data."""
    config = merged("laptop") | {"scale": "smoke", "variants": ["corrected"], "methods": [method]}
    for key, value in SHORTER[method].items():
        _put(config[method], key, value)
    for key, value in SIZES[method].items():
        _put(config[method], key, value * factor)
    return config


def _put(section: dict, key: str, value: object) -> None:
    *parents, last = key.split(".")
    for name in parents:
        section = section[name]
    if last not in section:
        raise KeyError(f"no setting {key}")
    section[last] = value


def measured(method: str, factor: int, folder: Path) -> dict[str, dict]:
    """Run one method at one size in a copy of the project; the provenance of each kind of job."""
    project = copy_project(folder)
    (project / "size.yaml").write_text(yaml.safe_dump(overlay(method, factor)), encoding="utf-8")
    words = (
        "--configfile",
        "size.yaml",
        "--config",
        "scale=smoke",
        "--",
        f"results/smoke/{method}/evaluate/metrics.csv",
    )
    done = snakemake(project, *words)
    if done.returncode:
        raise RuntimeError(f"{method} at ×{factor} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    results = project / "results" / "smoke" / method
    return {name: json.loads((results / path).read_text(encoding="utf-8")) for name, (path, _) in JOBS.items()}


def table_rows(method: str) -> Iterator[str]:
    """The rows of one method as lines of Markdown."""
    records = []
    for factor in FACTORS:
        with tempfile.TemporaryDirectory() as folder:
            records.append(measured(method, factor, Path(folder)))
    for name, (_, kind) in JOBS.items():
        counted = COUNTED_IN[method]
        key = counted.get(kind, counted.get("else", ""))
        first = SIZES[method][key]
        thousands = [first * factor / 1000 for factor in FACTORS]
        cpu = [record[name]["cpu_time_s"] for record in records]
        memory = [record[name]["peak_memory_mb"] for record in records]
        time, space = line(thousands, cpu), line(thousands, memory)
        cells = (
            *(method, name, f"`{key}`", str(first)),
            *(", ".join(f"{value:.1f}" for value in cpu), f"{time.start:.1f} + {time.slope:.3g} · n"),
            *(", ".join(str(value) for value in memory), f"{space.slope:.3g}", f"{100 * time.farthest:.0f} %"),
        )
        yield f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(SIZES), default=list(SIZES), help="default: all")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this document's marks")
    options = parser.parse_args(arguments)

    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    print("\n".join(lines))
    for method in options.methods:
        for row in table_rows(method):
            print(row, flush=True)
            lines.append(row)
    if options.write:
        write(options.write, lines, BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
