"""The figure of alignment, drawn from the table and the images of the stage evaluate."""

from workflow_scripts.alignment.evaluation import drawing
from workflow_scripts.alignment.settings import Plot
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job


def plot(job: Job[Plot]) -> None:
    """Write the figure in three formats and the table of its curves."""
    registry = read_registry(job.input("estimators"))
    examples = drawing.read_examples(job.input("examples"))
    metrics = read_metrics(job.input("metrics"))
    table = drawing.source_table(metrics, float(examples["headline_snr"]), registry)
    with style():
        # The four files of the figure share their stem.
        save_figure(drawing.draw(table, examples, registry), table, job.outputs["svg"].with_suffix(""))


if __name__ == "__main__":
    Command(
        plot,
        Plot,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Class averages and histograms of the stage evaluate (.npz).",
            "estimators": "Registry of the estimators, their order and looks (estimators.yaml).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
        },
    ).main()
