"""The log flat fields of the test tiles, estimated by one estimator."""

from workflow_scripts.background.simulation.tile_files import read_tiles
from workflow_scripts.study.predictions import WEIGHTS_AND_SHARDS, write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import EstimatorChoice


def predict(job: Job[EstimatorChoice]) -> None:
    """Write what `predict(job, tiles)` of the estimator's module returns, a `simulation.sessions.Predictions`."""
    predictions = job.implementation.predict(job, read_tiles(job.input("test")))
    arguments = job.arguments
    write_predictions(job.outputs["predictions"], arguments.estimator, arguments.training_seed, predictions)


if __name__ == "__main__":
    Command(
        predict,
        EstimatorChoice,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Log flat fields (.npz)."},
        optional_inputs=WEIGHTS_AND_SHARDS,
        implementations="workflow_scripts.background.estimators",
    ).main()
