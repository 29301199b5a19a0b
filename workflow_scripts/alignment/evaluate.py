"""Compare all estimated poses and averages with the truth, and with the results for pure noise."""

import numpy as np
import torch

from workflow_scripts.alignment.evaluation import average_quality, examples, scores
from workflow_scripts.alignment.evaluation.floor import floor_prediction
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.labels import JOINT, NOISE_ONLY, read_labelled
from workflow_scripts.formats.mrc import open_stack
from workflow_scripts.study.by_source import write_by_source
from workflow_scripts.study.predictions import read_predictions
from workflow_scripts.study.tables import with_headline, write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays


def evaluate(job: Job[Evaluate]) -> None:
    """Write the metrics, and the images and histograms of the figure.

    Raises:
        InputError: the files do not belong together, or the headline was not measured.
    """
    settings = job.arguments
    stacks = read_labelled(job.input("star"), job.input("stack"))
    scores.check_headline(stacks, settings)
    particles = list(dict.fromkeys(stack.particle for stack in stacks if stack.name != NOISE_ONLY))
    clean = open_stack(job.input("centres"))
    if clean.n_images != len(particles):
        raise InputError(f"{clean.path}: has {clean.n_images} images for {len(particles)} particles; synthesize again")
    centres = dict(zip(particles, torch.from_numpy(clean.read(np.arange(len(particles)))), strict=True))

    files = [read_predictions(path) for path in job.inputs["predictions"]]
    predictions = [prediction for file in files for prediction in scores.split_predictions(file, stacks)]
    floors = [floor_prediction(stack, centres[stack.particle]) for stack in stacks if stack.name != NOISE_ONLY]
    errors = [errors for prediction in predictions + floors for errors in scores.errors_of(prediction)]
    true_predictions = [average_quality.true_prediction(stack) for stack in stacks if stack.name != NOISE_ONLY]
    of_particles, of_noise = [], []
    for prediction in predictions + true_predictions:
        stack = prediction.stack
        averages = of_noise if stack.name == NOISE_ONLY else of_particles
        if prediction.alignment == JOINT and (stack.name == NOISE_ONLY or scores.at_headline(stack, settings)):
            averages.append(average_quality.average_stack(prediction, settings.average_sizes))
    errors_of_noise = [item for item in errors if item.prediction.stack.name == NOISE_ONLY]
    noise_errors = [item for item in errors_of_noise if item.metric == scores.MOD180]
    null_images = average_quality.null_particles(clean.box_px, stacks[-1].pixel_size_a, settings)
    rows = [
        *scores.error_rows(errors, settings),
        *average_quality.quality_rows(of_particles, centres, null_images, settings),
        *average_quality.control_rows(noise_errors, of_noise, centres, null_images, settings),
        *scores.own_loss_rows(files, stacks, settings),
    ]
    rows = with_headline(rows, scores.headline(settings))
    write_metrics(rows, job.outputs["metrics"])
    write_by_source(rows, job.outputs["by_source"])
    write_arrays(job.outputs["examples"], examples.figure_arrays(errors, of_particles + of_noise, centres, settings))


if __name__ == "__main__":
    Command(
        evaluate,
        Evaluate,
        inputs={
            "stack": "Test stack of the stage synthesize (.mrcs).",
            "star": "List of its images with the true poses (.star).",
            "centres": "Noise-free images of its particles (.mrcs).",
            "predictions": "Files of the stage predict, one for each estimator and seed (.npz).",
        },
        outputs={
            "metrics": "Metrics (.csv).",
            "by_source": "What every particle contributes to them (.csv).",
            "examples": "Class averages and histograms (.npz).",
        },
    ).main()
