"""What a study cost: time and memory from Snakemake's benchmarks, devices from provenance, energy by assumption."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.study.documents import Section
from workflow_scripts.study.rounding import three_digits
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.stages import STAGES

# What the energy rests on: a core at work, with its share of memory and board, and a GPU of the H100's class at work.
WATTS_PER_CORE, WATTS_PER_GPU = 10.0, 700.0
ASSUMPTION = (
    f"Energy is an estimate, not a measurement: {WATTS_PER_CORE:g} W for every core while it computes (CPU time) and "
    f"{WATTS_PER_GPU:g} W for every GPU while a job holds it; idle machines, cooling and losses are left out."
)
COLUMNS = ["method", "stage", "jobs", "wall_s", "cpu_s", "peak_memory_mb", "gpu_h", "energy_wh"]
HEADS = [
    *("method", "stage", "jobs", "wall time, jobs summed (min)", "CPU time (min)", "peak memory of a job (MB)"),
    *("GPU time (h)", "energy, estimated (Wh)"),
]
ALL = "all stages"


def read_cost(folder: Path, methods: Sequence[str]) -> pd.DataFrame:
    """The cost of every stage of every method in results/<scale>, without the user's own data.

    wall_s and cpu_s are sums over the jobs, peak_memory_mb the largest resident memory of one of them. A job on a GPU
    counts its wall time for each GPU it held. A number that was not recorded is missing (NaN).

    Raises:
        InputError: a benchmark is no table as Snakemake writes it, or no job of a method has one.
    """
    rows = []
    for method in methods:
        gpu_s = _gpu_seconds(folder / method)
        found: dict[str, list[pd.Series]] = {}
        for path in sorted((folder / "benchmarks" / method).glob("*.tsv")):
            stage = path.stem.split("_")[0]
            # The user's own data are no part of the study.
            if stage in STAGES:
                found.setdefault(stage, []).append(_benchmark(path))
        if not found:
            raise InputError(f"{folder / 'benchmarks' / method} holds no benchmark of a job; run the study first")
        for stage in (name for name in STAGES if name in found):
            jobs = pd.DataFrame(found[stage])
            rows.append(
                {
                    "method": method,
                    "stage": stage,
                    "jobs": len(jobs),
                    "wall_s": jobs["s"].sum(min_count=1),
                    "cpu_s": jobs["cpu_time"].sum(min_count=1),
                    "peak_memory_mb": jobs["max_rss"].max(),
                    "gpu_h": gpu_s.get(stage, 0.0) / 3600,
                }
            )
    table = pd.DataFrame(rows)
    table["energy_wh"] = table["cpu_s"] / 3600 * WATTS_PER_CORE + table["gpu_h"] * WATTS_PER_GPU
    return table[COLUMNS]


def totals(table: pd.DataFrame) -> pd.DataFrame:
    """One row for every method, and one for all of them: sums, and the largest peak memory."""
    rules = dict.fromkeys(COLUMNS[2:], "sum") | {"peak_memory_mb": "max"}
    by_method = table.groupby("method", sort=False).agg(rules).reset_index()
    together = table.agg(rules).to_frame().T.assign(method="all methods")
    return pd.concat([by_method, together], ignore_index=True).assign(stage=ALL)[COLUMNS]


def cost_sections(table: pd.DataFrame) -> Iterator[Section]:
    """The totals first, then every stage."""
    yield Section("Whole methods", HEADS[:1] + HEADS[2:], [[row[0], *row[2:]] for row in _cells(totals(table))])
    yield Section("Stage by stage", HEADS, list(_cells(table)), texts=2)


def _cells(table: pd.DataFrame) -> Iterator[list[str]]:
    for row in table.itertuples():
        numbers = (row.wall_s / 60, row.cpu_s / 60, row.peak_memory_mb, row.gpu_h, row.energy_wh)
        yield [row.method, row.stage, str(int(row.jobs)), *(_number(value) for value in numbers)]


def _number(value: float) -> str:
    return "not recorded" if pd.isna(value) else three_digits(float(value))


def _benchmark(path: Path) -> pd.Series:
    """Seconds, peak resident memory in MB, and CPU seconds; the last run where a job was repeated."""
    try:
        table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        return pd.to_numeric(table[["s", "max_rss", "cpu_time"]].iloc[-1])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} is no benchmark as Snakemake writes it ({error}); delete it and run again") from error


def _gpu_seconds(folder: Path) -> dict[str, float]:
    """Seconds that the jobs of each stage held GPUs, by the provenance of a method's folder."""
    seconds: dict[str, float] = {}
    for path in sorted(folder.rglob("*provenance.json")):
        record = read_json(path)
        if str(record.get("device", "cpu")).startswith("cuda"):
            if "apply" in path.relative_to(folder).parts:
                continue
            stage = record["module"].rsplit(".", 1)[1]
            held = record["wall_time_s"] * max(1, int(record["settings"].get("gpus", 1)))
            seconds[stage] = seconds.get(stage, 0.0) + held
    return seconds
