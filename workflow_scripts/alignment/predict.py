"""The poses of all particles of the test stacks by one estimator."""

import torch

from workflow_scripts.alignment.simulation.labels import read_labelled
from workflow_scripts.learning.devices import job_device
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.predictions import WEIGHTS, write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.progress import Progress
from workflow_scripts.workflow.settings import EstimatorChoice


def predict(job: Job[EstimatorChoice]) -> None:
    """Write the predictions of every stage for every stack; the true poses in the list are not read."""
    arguments = job.arguments
    stacks = read_labelled(job.input("star"), job.input("stack"))
    predictions = {}
    with job_device(job) as device:
        for stage, aligner in job.implementation.make(job, device).items():
            with Progress(len(stacks), f"{arguments.estimator}, {stage}: stacks") as progress, torch.inference_mode():
                for stack in stacks:
                    predictions[stage, condition(stack=stack.name)] = aligner.predict(
                        stack.read().to(device), stack.transfer().to(device)
                    )
                    progress.advance()
    write_predictions(job.outputs["predictions"], arguments.estimator, arguments.training_seed, predictions)


if __name__ == "__main__":
    Command(
        predict,
        EstimatorChoice,
        inputs={
            "stack": "Test stack of the stage synthesize (.mrcs).",
            "star": "List of its images (.star); the true poses in it are not read.",
        },
        outputs={"predictions": "Relative angles and poses (.npz)."},
        optional_inputs=WEIGHTS,
        implementations="workflow_scripts.alignment.estimators",
    ).main()
