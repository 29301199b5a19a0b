"""The poses of all particles of the test stacks, by a network or by a classical baseline."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import torch
from pydantic import Field

from workflow_scripts.alignment.estimators import Estimator, answers, arrays, baseline
from workflow_scripts.alignment.labels import STAGES, read_labelled
from workflow_scripts.alignment.network_estimator import network_estimator
from workflow_scripts.alignment.settings import BaselineName, Predict, VariantName
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.progress import Progress
from workflow_scripts.workflow.settings import Compute


class Arguments(Predict, Compute):
    """The settings of the stage, the estimator, and on what it runs."""

    estimator: Literal[VariantName, BaselineName] = Field(
        description="An arm of the study (needs --pretrained and --finetuned), or a baseline."
    )
    training_seed: int = Field(ge=0, description="Training seed of the weights; of a baseline 0.")


def predict(job: Job[Arguments]) -> None:
    """Write what every stage of the estimator says of every stack; the truth in the list is not looked at."""
    arguments = job.arguments
    stacks = read_labelled(job.input("star"), job.input("stack"))
    found: dict[str, np.ndarray] = {}
    stages = []
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        for stage, estimator in _estimators(job, device):
            stages.append(stage)
            with Progress(len(stacks), f"{arguments.estimator}, {stage}: stacks") as progress, torch.inference_mode():
                for stack in stacks:
                    images = torch.from_numpy(stack.read()).to(device)
                    found |= arrays(stage, stack.name, answers(estimator, images))
                    progress.advance()
    about = {
        "estimator": arguments.estimator,
        "seed": arguments.training_seed,
        "stages": stages,
        "stacks": [stack.name for stack in stacks],
    }
    write_arrays(job.outputs["predictions"], found | about)


def _estimators(job: Job[Arguments], device: torch.device) -> Iterator[tuple[str, Estimator]]:
    """Yield the name of each stage and who answers."""
    arguments = job.arguments
    if arguments.estimator in get_args(BaselineName):
        yield baseline(arguments.estimator, arguments.rounds)
        return
    for stage in STAGES:
        if stage not in job.inputs:
            raise InputError(f"--estimator {arguments.estimator} needs --{stage}, which is missing")
    for stage in STAGES:
        yield stage, network_estimator(job.input(stage), stage, arguments.batch_size, arguments.rounds, device)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={
            "stack": "Test stack of the stage synthesize (.mrcs).",
            "star": "Its list (.star), of which the poses are not looked at.",
        },
        outputs={"predictions": "Poses and averages (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
        },
    ).main()
