"""The figures of the projected potential, drawn from the tables and images of the stage evaluate."""

import pandas as pd

from workflow_scripts.potential import drawing, drawing_scale
from workflow_scripts.potential.settings import Plot
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write both figures in three formats and the tables of their curves."""
    metrics = read_metrics(job.input("metrics"))
    examples = drawing.read_examples(job.input("examples"))
    headline = (float(examples[f"headline_{name}"]) for name in ("dose_e_per_a2", "thickness_nm"))
    scores = drawing.source_table(metrics, *headline)
    scales = drawing_scale.source_table(metrics, pd.read_csv(job.input("cells")))
    with style():
        # The four files of a figure share their stem.
        figure = drawing.draw(scores, examples)
        save_figure(figure, scores, job.outputs["svg"].with_suffix(""))
        save_figure(drawing_scale.draw(scales), scales, job.outputs["scale_svg"].with_suffix(""))


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Example images of the stage evaluate (.npz).",
            "cells": "Error of the images by field of view, of the stage evaluate (.csv).",
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
