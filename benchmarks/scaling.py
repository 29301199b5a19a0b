"""Measure how the CPU time and the memory of every stage grow with its data.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --methods matching --write docs/performance.md

The corrected arm of each method runs with the laptop's networks at three sizes: ×1, ×2 and ×4 of `SIZES`. A line is
fitted through the three CPU times and the three peaks of memory of each kind of job; the last column is the largest
distance of a CPU time from its line. Wall times are not used: others may share the cores.

Every job is forked from this process, which has loaded what the stages import: start-up is measured elsewhere.
"""

import argparse
import importlib
import json
import os
import runpy
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.resources import write
from workflow_scripts.workflow.dry_run import dry_run, stage_words
from workflow_scripts.workflow.reference import merged

LIBRARIES = ("torch", "scipy.signal", "scipy.ndimage", "scipy.stats", "pandas", "skimage.io", "skimage.metrics")
LIBRARIES += ("ase.spacegroup", "ase.io.cif", "mrcfile", "tifffile", "h5py")

BEGIN, END = "<!-- measured by benchmarks.scaling -->", "<!-- end of the slopes -->"
FACTORS = (1, 2, 4)
# Settings that grow by the root of the factor: points along each of two directions.
SQUARED = ("synthesize.scan.points",)
# Settings by dotted key at ×1, which grow by the factor.
SIZES = {
    "matching": {
        "synthesize.train_patterns": 300,
        "synthesize.gallery": 300,
        "synthesize.queries": 50,
        "pretrain.patterns": 320,
        "finetune.pairs": 320,
    },
    "background": {
        "synthesize.instruments": 16,
        "synthesize.test_instruments": 2,
        "pretrain.pairs": 160,
        "finetune.pairs": 80,
    },
    "potential": {"synthesize.orientations": 2, "synthesize.test_orientations": 1, "finetune.samples": 4},
    "alignment": {
        "synthesize.train_images": 75,
        "synthesize.test_images": 75,
        "pretrain.pairs": 480,
        "finetune.pairs": 240,
    },
    "diffractive_imaging": {
        "synthesize.samples_per_shard": 1500,
        "synthesize.test_samples": 125,
        "synthesize.scan.points": 24,
    },
}
# Settings that stay, so that the measurement is short.
SHORTER = {
    "matching": {
        "synthesize.train_shards": 1,
        "synthesize.dose_e": [300.0],
        "pretrain.epochs": 2,
        "finetune.epochs": 2,
        "leave_out": ["chance", "untrained", "ncc"],
        "evaluate.ablations": [],
        "evaluate.bootstrap_samples": 100,
    },
    "background": {
        "synthesize.train_shards": 1,
        "synthesize.specimens": 128,
        "pretrain.epochs": 2,
        "leave_out": [
            "gaussian",
            "median_4",
            "median_16",
            "gated_2",
            "gated_4",
            "gated_16",
            "basic_16",
            "eigen_flats",
            "unet",
        ],
        "predict.network.curve_steps": [1, 2],
        "evaluate.bootstrap_samples": 100,
    },
    "potential": {
        "synthesize.train_shards": 1,
        "synthesize.materials": ["GaN", "SrTiO3"],
        "synthesize.thickness_nm": [2.0, 4.0],
        "synthesize.views": 1,
        "pretrain.epochs": 15,
        "pretrain.batch_size": 2,
        "finetune.validation_share": 0.5,
        "finetune.batch_size": 2,
        "leave_out": ["metadata_mean", "icom", "unet"],
        "evaluate.bootstrap_samples": 100,
        "evaluate.convergence.field_a": [4.0, 8.0],
        "evaluate.convergence.thickness_nm": [2.0],
        "evaluate.convergence.pixel_a": [0.16, 0.13],
        "evaluate.convergence.pixel_thickness_nm": [2.0],
        "evaluate.headline_thickness_nm": 4.0,
    },
    "alignment": {
        "synthesize.particles": ["groel_side"],
        "synthesize.snr": [0.1],
        "synthesize.coloured_snr": [],
        "pretrain.epochs": 2,
        "leave_out": ["polar_joint"],
        "evaluate.average_sizes": [10, 30],
        "evaluate.null_permutations": 20,
        "evaluate.bootstrap_samples": 100,
    },
    "diffractive_imaging": {
        "synthesize.train_shards": 1,
        "synthesize.scan.photographs": 1,
        "synthesize.scan.crystals": [],
        "synthesize.scan.perturbed": 0,
        "synthesize.test_phase_std_rad": [0.5],
        "synthesize.test_dose_e": [27882.0],
        "pretrain.epochs": 4,
        "pretrain.epoch_by_hand": 4,
        "leave_out": ["dpc", "ptychography"],
        "evaluate.ablations": [],
        "evaluate.bootstrap_samples": 100,
        "evaluate.transfer_points": 32,
    },
}
# What of SIZES the data of each kind of job is counted in; training sees its samples once an epoch.
COUNTED_IN = {
    "diffractive_imaging": {
        "test": "synthesize.test_samples",
        "train": "synthesize.samples_per_shard",
        "pretrain": "synthesize.samples_per_shard",
        "finetune": "synthesize.scan.points",
    },
    "potential": {
        "test": "synthesize.test_orientations",
        "train": "synthesize.orientations",
        "pretrain": "synthesize.orientations",
        "finetune": "finetune.samples",
    },
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
        _put(config[method], key, round(value * factor**0.5) if key in SQUARED else value * factor)
    return config


def _put(section: dict, key: str, value: object) -> None:
    *parents, last = key.split(".")
    for name in parents:
        section = section[name]
    if last not in section:
        raise KeyError(f"no setting {key}")
    section[last] = value


def measured(method: str, factor: int, folder: Path) -> dict[str, dict]:
    """Run one method at one size in a folder of its own; the provenance of each kind of job."""
    (folder / "size.yaml").write_text(yaml.safe_dump(overlay(method, factor)), encoding="utf-8")
    words = ("--configfile", str(folder / "size.yaml"), "--config", "scale=smoke", "--")
    for job in dry_run([*words, f"results/smoke/{method}/evaluate/metrics.csv"]):
        run_apart(stage_words(job.command), folder)
    results = folder / "results" / "smoke" / method
    return {name: json.loads((results / path).read_text(encoding="utf-8")) for name, (path, _) in JOBS.items()}


def run_apart(words: Sequence[str], folder: Path) -> None:
    """Run a stage script, its module and its arguments, in a child of this process, in `folder`."""
    log = folder / "log.txt"
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
            os.chdir(folder)
            sys.argv = list(words)
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"failed: python -m {shlex.join(words)}\n{log.read_text(encoding='utf-8')}")


def table_rows(method: str) -> Iterator[str]:
    """The rows of one method as lines of Markdown."""
    records = []
    for factor in FACTORS:
        with tempfile.TemporaryDirectory() as folder:
            records.append(measured(method, factor, Path(folder)))
    for name, (_, kind) in JOBS.items():
        key = COUNTED_IN[method][kind]
        first = SIZES[method][key] ** (2 if key in SQUARED else 1)
        thousands = [first * factor / 1000 for factor in FACTORS]
        cpu = [record[name]["cpu_time_s"] for record in records]
        memory = [record[name]["peak_memory_mb"] for record in records]
        time, space = line(thousands, cpu), line(thousands, memory)
        cells = (
            *(method, name, f"`{key}`{'²' if key in SQUARED else ''}", str(first)),
            *(", ".join(f"{value:.1f}" for value in cpu), f"{time.start:.1f} + {time.slope:.3g} · n"),
            *(", ".join(str(value) for value in memory), f"{space.slope:.3g}", f"{100 * time.farthest:.0f} %"),
        )
        yield f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(SIZES), default=list(SIZES), help="default: all")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this document's marks")
    options = parser.parse_args(arguments)

    for name in LIBRARIES:
        importlib.import_module(name)
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
