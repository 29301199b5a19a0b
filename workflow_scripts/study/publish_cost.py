"""Write what the study cost: jobs, time, memory, GPU-hours and an estimate of the energy, per method and stage."""

from pathlib import Path

from pydantic import Field

from workflow_scripts.study.cost import ASSUMPTION, cost_sections, read_cost
from workflow_scripts.study.documents import write_documents
from workflow_scripts.study.rounding import number
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import ScaleChoice


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
