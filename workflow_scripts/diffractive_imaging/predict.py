"""Phase patches of the test set and images of the scans, by one estimator."""

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.study.predictions import write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute, EstimatorChoice


class Arguments(Compute, EstimatorChoice):
    """The estimator, and on what it runs."""


def predict(job: Job[Arguments]) -> None:
    """Write the predictions of the estimator's module."""
    with leased_device(job.arguments.gpus) as device:
        job.device = str(device)
        predictions = job.implementation.predict(job, device)
    write_predictions(job.outputs["predictions"], job.arguments.estimator, job.arguments.training_seed, predictions)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Patches and images (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        implementations="workflow_scripts.diffractive_imaging.estimators",
    ).main()
