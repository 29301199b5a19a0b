"""Phase patches of the test set and images of the scans, by one estimator."""

from workflow_scripts.learning.devices import job_device
from workflow_scripts.study.predictions import WEIGHTS_AND_SHARDS, write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import EstimatorChoice


def predict(job: Job[EstimatorChoice]) -> None:
    """Write the predictions of the estimator's module."""
    with job_device(job) as device:
        predictions = job.implementation.predict(job, device)
    write_predictions(job.outputs["predictions"], job.arguments.estimator, job.arguments.training_seed, predictions)


if __name__ == "__main__":
    Command(
        predict,
        EstimatorChoice,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Patches and images (.npz)."},
        optional_inputs=WEIGHTS_AND_SHARDS,
        implementations="workflow_scripts.diffractive_imaging.estimators",
    ).main()
