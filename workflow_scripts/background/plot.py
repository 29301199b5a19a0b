"""The figure of the background, drawn from the tables and images of the stage evaluate."""

from workflow_scripts.background import drawing
from workflow_scripts.background.settings import Plot
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write the figure in three formats and the table of its points."""
    examples = drawing.read_examples(job.input("examples"))
    points = drawing.source_table(read_metrics(job.input("metrics")), examples)
    with style():
        # The four files of a figure share their stem.
        save_figure(drawing.draw(points, examples), points, job.outputs["svg"].with_suffix(""))


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Example images of the stage evaluate (.npz).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
        },
    ).main()
