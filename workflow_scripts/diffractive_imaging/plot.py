"""The figure of diffractive imaging, drawn from the tables and images of the stage evaluate."""

import pandas as pd

from workflow_scripts.diffractive_imaging.drawing import draw, read_images, source_table
from workflow_scripts.diffractive_imaging.settings import Plot
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write the figure in three formats and the table of its curves."""
    table = source_table(read_metrics(job.input("metrics")), pd.read_csv(job.input("transfer")))
    with style():
        figure = draw(table, read_images(job.input("images")))
        # The four outputs share their stem.
        save_figure(figure, table, job.outputs["svg"].with_suffix(""))


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "transfer": "Transfer of both stitchings by period (.csv).",
            "images": "Example patches and stitched images (.npz).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
        },
    ).main()
