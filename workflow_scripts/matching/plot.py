"""The figure of matching, drawn from the table and the examples of the stage evaluate."""

from workflow_scripts.matching.evaluation import drawing
from workflow_scripts.matching.settings import Plot
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write the figure in three formats and the table of its curves."""
    examples = drawing.read_examples(job.input("examples"))
    registry = read_registry(job.input("estimators"))
    table = drawing.source_table(read_metrics(job.input("metrics")), examples, registry)
    with style():
        # The four files of the figure share their stem.
        save_figure(drawing.draw(table, examples, registry), table, job.outputs["svg"].with_suffix(""))


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "What the figure shows besides them, of the stage evaluate (.npz).",
            "estimators": "The method's registry of estimators (estimators.yaml).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
        },
    ).main()
