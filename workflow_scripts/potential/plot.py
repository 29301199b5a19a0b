"""The figures of the projected potential, drawn from the tables and images of the stage evaluate."""

import pandas as pd

from workflow_scripts.potential import drawing, drawing_scale
from workflow_scripts.potential.settings import Plot
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_all_arrays


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write both figures in three formats and the tables of their curves."""
    metrics = read_metrics(job.input("metrics"))
    examples = read_all_arrays(job.input("examples"))
    registry = read_registry(job.input("estimators"))
    scores = drawing.source_table(metrics, registry)
    scales = drawing_scale.source_table(metrics, pd.read_csv(job.input("cells")), registry)
    with style():
        # The four files of a figure share their stem.
        save_figure(drawing.draw(scores, examples, registry), scores, job.outputs["svg"].with_suffix(""))
        save_figure(drawing_scale.draw(scales, registry), scales, job.outputs["scale_svg"].with_suffix(""))


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Example images of the stage evaluate (.npz).",
            "cells": "Error of the images by field of view, of the stage evaluate (.csv).",
            "estimators": "The method's estimators.yaml.",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
            "scale_svg": "The figure of the scales and the cell.",
            "scale_pdf": "The figure of the scales and the cell, with its fonts.",
            "scale_png": "The figure of the scales and the cell, 300 dpi.",
            "scale_csv": "The table behind its curves.",
        },
    ).main()
