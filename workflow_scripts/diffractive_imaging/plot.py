"""The figures of diffractive imaging, drawn from the tables and images of the stage evaluate."""

import pandas as pd

from workflow_scripts.diffractive_imaging import drawing, drawing_scans
from workflow_scripts.diffractive_imaging.settings import Plot
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write both figures in three formats and the tables of their curves."""
    metrics, registry = read_metrics(job.input("metrics")), read_registry(job.input("estimators"))
    examples = job.input("examples")
    patches = drawing.source_table(metrics, pd.read_csv(job.input("transfer")))
    scans = drawing_scans.source_table(metrics)
    with style():
        # The four files of a figure share their stem.
        figure = drawing.draw(patches, drawing.read_images(examples), registry)
        save_figure(figure, patches, job.outputs["svg"].with_suffix(""))
        figure = drawing_scans.draw(scans, drawing_scans.read_images(examples), registry)
        save_figure(figure, scans, job.outputs["scans_svg"].with_suffix(""))


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "transfer": "Transfer of both stitchings by period (.csv).",
            "examples": "Example patches and stitched images (.npz).",
            "estimators": "The method's estimators.yaml.",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
            "scans_svg": "The figure of the scans.",
            "scans_pdf": "The figure of the scans, with its fonts.",
            "scans_png": "The figure of the scans, 300 dpi.",
            "scans_csv": "The table behind its curves.",
        },
    ).main()
