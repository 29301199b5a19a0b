"""The log flat field of the test tiles by one estimator."""

from workflow_scripts.background.simulation.tile_files import read_tiles
from workflow_scripts.study.predictions import write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute, EstimatorChoice


class Arguments(Compute, EstimatorChoice):
    """The estimator, and on what it runs."""


def predict(job: Job[Arguments]) -> None:
    """Write the result of the function `predict(job, tiles)` of the estimator's module, `sessions.Predictions`."""
    predictions = job.implementation.predict(job, read_tiles(job.input("test")))
    arguments = job.arguments
    write_predictions(job.outputs["predictions"], arguments.estimator, arguments.training_seed, predictions)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Log flat fields (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        implementations="workflow_scripts.background.estimators",
    ).main()
