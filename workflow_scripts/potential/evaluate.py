"""Compare every estimator with the truth, image by image, and measure how wide a cell the images need."""

from itertools import chain

from pydantic import Field

from workflow_scripts.potential.evaluation import comparison, convergence
from workflow_scripts.potential.settings import Evaluate, material_name
from workflow_scripts.potential.simulation.samples import read_samples
from workflow_scripts.potential.simulation.structures import crystal
from workflow_scripts.study.by_source import write_by_source
from workflow_scripts.study.predictions import TEST_AND_PREDICTIONS, read_predictions
from workflow_scripts.study.tables import write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays, write_rows


class Arguments(Evaluate):
    """The settings of the stage, and the held-out material."""

    held_out_material: str = Field(description="The material that was left out of pretraining.")


def evaluate(job: Job[Arguments]) -> None:
    """Write the metrics, the images for the figure, and the errors by field of view and by pixel.

    Raises:
        InputError: the predictions of an arm with a single fault, or those of the headline, are missing.
    """
    settings = job.arguments
    held_out = material_name(settings.held_out_material)
    samples = read_samples([job.input("test")])
    predictions = [read_predictions(path) for path in job.inputs["predictions"]]
    ablated = [read_predictions(path) for path in job.inputs.get("ablated", [])]
    tested = (comparison.predictions_in(file, samples) for file in (*predictions, *ablated))
    judged = comparison.with_lattice_averages(chain.from_iterable(tested), samples, settings)
    images = comparison.image_metrics(
        chain(comparison.zeros(samples, predictions), judged), samples, held_out, settings
    )
    comparison.check_complete(images, settings, held_out)
    rows = comparison.metric_rows(images, settings)
    write_metrics(rows, job.outputs["metrics"])
    write_by_source(rows, job.outputs["by_source"], everywhere=comparison.PAIRED)
    write_arrays(job.outputs["examples"], comparison.example_images(samples, predictions, settings, held_out))
    cell = settings.convergence
    specimen = crystal(cell.material), samples.microscope
    errors = convergence.field_errors(*specimen, cell.field_a, cell.thickness_nm)
    errors += convergence.pixel_errors(*specimen, cell.pixel_a, cell.pixel_thickness_nm)
    write_rows(job.outputs["cells"], convergence.as_text(errors), convergence.COLUMNS)


if __name__ == "__main__":
    Command(
        evaluate,
        Arguments,
        inputs=TEST_AND_PREDICTIONS,
        outputs={
            "metrics": "Metrics (.csv).",
            "by_source": "What every specimen contributes to them (.csv).",
            "examples": "Example images (.npz).",
            "cells": "Error of the images by field of view and by pixel (.csv).",
        },
        optional_inputs={"ablated": "Files of the stage predict, of the arms with a single fault (.npz)."},
    ).main()
