"""Compare all estimated poses and averages with the truth, and with what pure noise gives."""

import numpy as np
import torch

from workflow_scripts.alignment.evaluation import average_quality, examples
from workflow_scripts.alignment.evaluation import metrics as evaluation
from workflow_scripts.alignment.evaluation.metrics import MOD180, Answer
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.labels import JOINT, NOISE_ONLY, read_labelled
from workflow_scripts.formats.mrc import open_stack
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
    evaluation.check_complete(stacks, settings)
    particles = list(dict.fromkeys(stack.particle for stack in stacks if stack.name != NOISE_ONLY))
    clean = open_stack(job.input("centres"))
    if clean.n_images != len(particles):
        raise InputError(f"{clean.path}: has {clean.n_images} images for {len(particles)} particles; synthesize again")
    centres = dict(zip(particles, torch.from_numpy(clean.read(np.arange(len(particles)))), strict=True))

    predictions = [read_predictions(path) for path in job.inputs["predictions"]]
    answers = [answer for file in predictions for answer in evaluation.read_answers(file, stacks)]
    true_answers = [average_quality.true_answer(stack) for stack in stacks if stack.name != NOISE_ONLY]
    averages = [
        average_quality.averaged(answer, settings.average_sizes)
        for answer in answers + true_answers
        if answer.alignment == JOINT and _has_average(answer, settings)
    ]
    errors = [errors for answer in answers for errors in evaluation.errors_of(answer)]

    noise_errors = [of_stack for of_stack in errors if _is_noise(of_stack.answer) and of_stack.metric == MOD180]
    of_particles, of_noise = (
        [average for average in averages if _is_noise(average.answer) == noise] for noise in (False, True)
    )
    null = average_quality.strangers(clean.box_px, stacks[-1].pixel_size_a, settings)
    rows = [
        *evaluation.error_rows(errors, settings),
        *average_quality.quality_rows(of_particles, centres, null, settings),
        *average_quality.control_rows(noise_errors, of_noise, centres, null, settings),
        *evaluation.own_loss_rows(predictions, stacks, settings),
    ]
    write_metrics(with_headline(rows, evaluation.headline(settings)), job.outputs["metrics"])
    write_arrays(job.outputs["examples"], examples.gathered(errors, averages, centres, settings))


def _is_noise(answer: Answer) -> bool:
    return answer.stack.name == NOISE_ONLY


def _has_average(answer: Answer, settings: Evaluate) -> bool:
    """Whether the stack is averaged: at the headline, and of pure noise."""
    stack = answer.stack
    return _is_noise(answer) or (stack.noise == "white" and stack.snr == settings.headline_snr)


if __name__ == "__main__":
    Command(
        evaluate,
        Evaluate,
        inputs={
            "stack": "Test stack of the stage synthesize (.mrcs).",
            "star": "Its list with the truth (.star).",
            "centres": "Clean images of its particles (.mrcs).",
            "predictions": "Files of the stage predict, one for each estimator and seed (.npz).",
        },
        outputs={"metrics": "Metrics (.csv).", "examples": "Class averages and histograms (.npz)."},
    ).main()
