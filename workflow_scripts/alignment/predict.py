"""The poses of all particles of the test stacks by one estimator."""

import torch

from workflow_scripts.alignment.simulation.labels import read_labelled
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.predictions import write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.progress import Progress
from workflow_scripts.workflow.settings import Compute, EstimatorChoice


class Arguments(Compute, EstimatorChoice):
    """The estimator, and on what it runs."""


def predict(job: Job[Arguments]) -> None:
    """Write the predictions of every stage for every stack; the true poses in the list are not read."""
    arguments = job.arguments
    stacks = read_labelled(job.input("star"), job.input("stack"))
    predictions = {}
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        for stage, aligner in job.implementation.make(job, device).items():
            with Progress(len(stacks), f"{arguments.estimator}, {stage}: stacks") as progress, torch.inference_mode():
                for stack in stacks:
                    predictions[stage, condition(stack=stack.name)] = aligner.predict(stack.read().to(device))
                    progress.advance()
    write_predictions(job.outputs["predictions"], arguments.estimator, arguments.training_seed, predictions)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={
            "stack": "Test stack of the stage synthesize (.mrcs).",
            "star": "Its list (.star), of which the true poses are not read.",
        },
        outputs={"predictions": "Relative angles and poses (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
        },
        implementations="workflow_scripts.alignment.estimators",
    ).main()
