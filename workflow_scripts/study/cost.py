"""Write what the study cost, from the provenance of every job: jobs, time, memory, GPU-hours and estimated energy."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from pydantic import Field

from workflow_scripts.study.documents import Section, write_documents
from workflow_scripts.study.rounding import number, three_digits
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.settings import STAGES, ScaleChoice

# For the energy: the power of a busy core, with its share of memory and board, and of a busy GPU of the H100's class.
WATTS_PER_CORE, WATTS_PER_GPU = 10.0, 700.0
ASSUMPTION = (
    f"Energy is an estimate, not a measurement: {WATTS_PER_CORE:g} W for every core while it computes (CPU time) and "
    f"{WATTS_PER_GPU:g} W for every GPU while a job holds it; idle machines, cooling and losses are left out."
)
NUMBERS = ["wall_s", "cpu_s", "peak_memory_mb", "gpu_h", "energy_wh"]
COLUMNS = ["method", "stage", "jobs", *NUMBERS]
HEADS = [
    *("method", "stage", "jobs", "wall time, jobs summed (min)", "CPU time (min)", "peak memory of a job (MB)"),
    *("GPU time (h)", "energy, estimated (Wh)"),
]
ALL = "all stages"
_SUMMED = ("wall_s", "cpu_s", "gpu_h")


class Arguments(ScaleChoice):
    """The study whose cost is summed."""

    folder: str = Field(min_length=1, description="results/<scale>, whose provenance is read.")


def publish(job: Job[Arguments]) -> None:
    """Write the table as CSV, Markdown, LaTeX and a page."""
    methods = [path.parent.parent.name for path in job.inputs["metrics"]]  # <method>/evaluate/metrics.csv
    table = read_cost(Path(job.arguments.folder), methods)
    table.to_csv(job.outputs["csv"], index=False, lineterminator="\n", float_format=number)
    introduction = (
        f"Scale {job.arguments.scale}. Wall time and CPU time are sums over jobs, which run side by side where there "
        f"are cores; a job that was repeated counts once. Imports count in CPU time. {ASSUMPTION}"
    )
    write_documents(job.outputs, "What the study cost", introduction, cost_sections(table))


def read_cost(folder: Path, methods: Sequence[str]) -> pd.DataFrame:
    """The cost of every stage of every method in results/<scale>, without `apply`.

    wall_s and cpu_s are sums over the jobs, peak_memory_mb the largest peak memory of a job. A job on GPUs counts its
    wall time once for each GPU. A number that was not recorded is missing (NaN).

    Raises:
        InputError: no job of a method has a provenance.
    """
    tables = []
    for method in methods:
        jobs = pd.DataFrame(_jobs(folder, method), columns=["stage", *_SUMMED, "peak_memory_mb"])
        if jobs.empty:
            raise InputError(f"{folder / method} holds no provenance of a job; run the study first")
        stages = jobs.groupby(pd.Categorical(jobs["stage"], STAGES), observed=True)
        sums = stages[list(_SUMMED)].sum(min_count=1)
        table = sums.assign(method=method, jobs=stages.size(), peak_memory_mb=stages["peak_memory_mb"].max())
        tables.append(table.rename_axis("stage").reset_index())
    table = pd.concat(tables, ignore_index=True).astype({"stage": str})
    table["energy_wh"] = table["cpu_s"] / 3600 * WATTS_PER_CORE + table["gpu_h"] * WATTS_PER_GPU
    return table[COLUMNS]


def _jobs(folder: Path, method: str) -> Iterator[dict[str, str | float | None]]:
    """The cost of every job of a method, from its provenance."""
    paths = [*(folder / method).rglob("*provenance.json"), *(folder / "figures").glob(f"{method}.provenance.json")]
    for path in sorted(paths):
        record = read_json(path)
        stage = record["module"].rsplit(".", 1)[1]
        # `apply` is not part of the study.
        if stage not in STAGES or "apply" in path.relative_to(folder).parts:
            continue
        on_gpu = record["device"].startswith("cuda")
        gpus = max(1, int(record["settings"].get("gpus", 1))) if on_gpu else 0
        yield {
            "stage": stage,
            "wall_s": record["wall_time_s"],
            "cpu_s": record.get("cpu_time_s"),
            "gpu_h": gpus * record["wall_time_s"] / 3600,
            "peak_memory_mb": record.get("peak_memory_mb"),
        }


def totals(table: pd.DataFrame) -> pd.DataFrame:
    """One row for every method, and one for all of them: sums, and the largest peak memory."""
    rules = dict.fromkeys(COLUMNS[2:], "sum") | {"peak_memory_mb": "max"}
    by_method = table.groupby("method", sort=False).agg(rules).reset_index()
    together = table.agg(rules).to_frame().T.assign(method="all methods")
    return pd.concat([by_method, together], ignore_index=True).assign(stage=ALL)[COLUMNS]


def cost_sections(table: pd.DataFrame) -> Iterator[Section]:
    """The totals first, then every stage."""
    yield Section("Whole methods", _as_text(totals(table)).drop(columns="stage"), total=True)
    yield Section("Stage by stage", _as_text(table), texts=2)


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table for readers, times in minutes."""
    numbers = table[NUMBERS].assign(wall_s=table["wall_s"] / 60, cpu_s=table["cpu_s"] / 60)
    jobs = table["jobs"].astype(int).astype(str)
    return table.assign(jobs=jobs, **numbers.map(_number)).set_axis(HEADS, axis=1)


def _number(value: float) -> str:
    return "not recorded" if pd.isna(value) else three_digits(float(value))


if __name__ == "__main__":
    Command(
        publish,
        Arguments,
        inputs={
            "metrics": "Metrics of every method: their jobs are done.",
            "figures": "A figure of every method: their jobs are done.",
        },
        outputs={
            "csv": "One row for every method and stage, in seconds, MB, hours and Wh (.csv).",
            "md": "The table as Markdown.",
            "tex": "The table as LaTeX, for booktabs and longtable.",
            "html": "The table as a page.",
        },
    ).main()
