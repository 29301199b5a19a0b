"""The best orientations of all test queries, by one estimator."""

from pydantic import Field

from workflow_scripts.learning.devices import job_device
from workflow_scripts.matching.settings import SharedPredict
from workflow_scripts.matching.simulation.pattern_files import read_queries
from workflow_scripts.study.predictions import WEIGHTS_AND_SHARDS, write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import EstimatorChoice


class Arguments(SharedPredict, EstimatorChoice):
    """The settings of the stage, the estimator, and the device."""

    crystal: str = Field(min_length=1, description="The crystal of the stage synthesize.")


def predict(job: Job[Arguments]) -> None:
    """Write the best orientations of all queries, after every stage of the estimator.

    Raises:
        InputError: a file that the estimator needs is missing.
    """
    queries = read_queries(job.input("test"))
    with job_device(job) as device:
        predictions = job.implementation.predict(job, queries, device)
    parts = {(stage, ""): vars(arrays) for stage, arrays in predictions.items()}
    write_predictions(job.outputs["predictions"], job.arguments.estimator, job.arguments.training_seed, parts)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Orientations and scores (.npz)."},
        optional_inputs=WEIGHTS_AND_SHARDS
        | {"proposing": "Weights of the network whose candidates are refitted (.safetensors)."},
        implementations="workflow_scripts.matching.estimators",
    ).main()
