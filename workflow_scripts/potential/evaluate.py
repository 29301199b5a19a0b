"""Compare every estimator with the truth, image by image, and find how wide a cell the images need."""

from itertools import chain

import torch
from pydantic import Field

from workflow_scripts.potential import convergence, evaluation
from workflow_scripts.potential.samples import read_samples
from workflow_scripts.potential.settings import Evaluate, material_name
from workflow_scripts.potential.structures import crystal
from workflow_scripts.study.tables import write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_arrays, write_arrays, write_rows


class Arguments(Evaluate):
    """The settings of the stage, and what was held out."""

    held_out_material: str = Field(description="The material that pretraining never saw.")


def evaluate(job: Job[Arguments]) -> None:
    """Write the metrics, the images that the figure shows, and the errors of the cell.

    Raises:
        InputError: the predictions of a baseline, of a recipe with a single fault or of the headline are missing.
    """
    settings = job.arguments
    held_out = material_name(settings.held_out_material)
    samples = read_samples([job.input("test")])
    paths = job.inputs["predictions"]
    counted = read_arrays(paths[0], ["dose_e_per_a2", "count_seed"])
    answers = (evaluation.read_answers(path, samples) for path in (*paths, *job.inputs.get("ablated", [])))
    trivial = evaluation.zeros(samples, counted["dose_e_per_a2"].tolist())
    images = evaluation.image_metrics(chain(trivial, *answers), samples, held_out, settings.headline_dose_e_per_a2)
    evaluation.check_complete(images, settings, held_out)
    write_metrics(evaluation.metric_rows(images, settings), job.outputs["metrics"])
    examples = evaluation.example_images(samples, paths, settings, held_out, int(counted["count_seed"]))
    write_arrays(job.outputs["examples"], examples)
    cell = settings.convergence
    specimen = crystal(cell.material), samples.microscope
    cpu = torch.device("cpu")
    rows = convergence.field_errors(*specimen, cell.field_a, cell.thickness_nm, cpu)
    rows += convergence.pixel_errors(*specimen, cell.pixel_a, cell.pixel_thickness_nm, cpu)
    write_rows(job.outputs["cells"], convergence.as_text(rows), convergence.COLUMNS)


if __name__ == "__main__":
    Command(
        evaluate,
        Arguments,
        inputs={
            "test": "Test file of the stage synthesize (.npz).",
            "predictions": "Files of the stage predict, one for each estimator and seed (.npz).",
        },
        outputs={
            "metrics": "Metrics (.csv).",
            "examples": "Example images (.npz).",
            "cells": "Error of the images by field of view and by pixel (.csv).",
        },
        optional_inputs={"ablated": "Files of the stage predict, of the recipes with a single fault (.npz)."},
    ).main()
