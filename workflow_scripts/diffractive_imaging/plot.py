"""The figure of diffractive imaging, drawn from the tables and images of the stage evaluate."""

import pandas as pd

from workflow_scripts.diffractive_imaging.settings import Plot
from workflow_scripts.study.figures import save_figure
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_arrays

ESTIMATORS = ("zeros", "ridge", "published", "corrected")
IMAGES = ("ridge", "published", "corrected")


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write the figure in three formats and the table that it is drawn from."""
    table = source_table(read_metrics(job.input("metrics")), pd.read_csv(job.input("transfer")))
    figure = draw(table, read_arrays(job.input("images")))
    save_figure(figure, table, {suffix: job.outputs[suffix] for suffix in ("svg", "pdf", "png", "csv")})


def source_table(metrics: pd.DataFrame, transfer: pd.DataFrame) -> pd.DataFrame:
    """All points of the panels c and d: panel, estimator, phase_std_rad, dose_e, period_px, value, low, high, n."""
    return pd.DataFrame()


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
            "pdf": "The figure.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind it.",
        },
    ).main()
