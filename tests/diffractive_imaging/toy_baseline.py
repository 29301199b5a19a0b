"""A baseline as a user adds one to the folder estimators/ of the method: a flat phase, whatever the pattern."""

import torch

from workflow_scripts.diffractive_imaging.networks.imaging import PatchEstimator, Predictions
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination
from workflow_scripts.workflow.command import Job


def predict(job: Job, device: torch.device) -> Predictions:
    """Patches, and the images stitched from them."""
    test = job.input("test")
    estimator = PatchEstimator(lambda counts, dose_e: torch.zeros(counts.shape), Illumination.read(test))
    return estimator.predict("fitted", test)
