"""Compare all estimated poses and averages with the truth, and with what pure noise gives."""

import numpy as np
import torch

from workflow_scripts.alignment import average_quality, evaluation, examples
from workflow_scripts.alignment.labels import JOINT, NOISE_ONLY, read_labelled
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.stacks import open_stack
from workflow_scripts.study.tables import with_headline, write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays


def evaluate(job: Job[Evaluate]) -> None:
    """Write the metrics and what the figure shows as images and histograms.

    Raises:
        InputError: the files do not belong together, or the headline was not measured.
    """
    settings = job.arguments
    stacks = read_labelled(job.input("star"), job.input("stack"))
    evaluation.check_complete(stacks, settings)
    names = list(dict.fromkeys(stack.particle for stack in stacks if stack.name != NOISE_ONLY))
    clean = open_stack(job.input("centres"))
    if clean.n_images != len(names):
        raise InputError(f"{clean.path}: has {clean.n_images} images for {len(names)} particles; synthesize again")
    centres = dict(zip(names, torch.from_numpy(clean.read(np.arange(len(names)))), strict=True))
    answers = [answer for path in job.inputs["predictions"] for answer in evaluation.read_answers(path, stacks)]
    perfect = [average_quality.true_answer(stack) for stack in stacks if stack.name != NOISE_ONLY]
    shown = [one for one in answers + perfect if one.alignment == JOINT and _is_shown(one, settings)]
    found = [average_quality.averaged(one, settings.average_sizes) for one in shown]
    errors = [one for answer in answers for one in evaluation.errors_of(answer)]
    noise = [one for one in errors if _is_noise(one.answer) and one.metric == evaluation.MOD180]
    rows = evaluation.error_rows(errors, settings)
    real, pure = ([one for one in found if _is_noise(one.answer) == wanted] for wanted in (False, True))
    null = average_quality.strangers(clean.box_px, stacks[-1].pixel_size_a, settings)
    rows += average_quality.quality_rows(real, centres, null, settings)
    rows += average_quality.control_rows(noise, pure, centres, null, settings)
    rows += evaluation.own_loss_rows(job.inputs["predictions"], stacks, settings)
    write_metrics(with_headline(rows, evaluation.headline(settings)), job.outputs["metrics"])
    write_arrays(job.outputs["examples"], examples.gathered(errors, found, centres, settings))


def _is_noise(answer: evaluation.Answer) -> bool:
    return answer.stack.name == NOISE_ONLY


def _is_shown(answer: evaluation.Answer, settings: Evaluate) -> bool:
    """Whether the class average is looked at: at the headline, and of pure noise."""
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
