"""A trained network of either arm, with the weights of both its stages."""

import torch

from workflow_scripts.diffractive_imaging.networks.imaging import PatchEstimator, Predictions
from workflow_scripts.diffractive_imaging.networks.reconstruction import load_estimate
from workflow_scripts.diffractive_imaging.settings import VARIANTS, arm_named
from workflow_scripts.diffractive_imaging.settings import InferenceSettings as Options
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination
from workflow_scripts.workflow.command import Job


def predict(job: Job, device: torch.device) -> Predictions:
    """Predictions of the pretrained weights and, where the recipe has such, of the finetuned ones.

    Raises:
        InputError: weights are missing, or no arm has the estimator's name.
    """
    job.require("pretrained", "finetuned")
    arguments, test = job.arguments, job.input("test")
    options: Options = arguments.options
    variant = arm_named(arguments.estimator, VARIANTS)
    light = Illumination.read(test)
    result: Predictions = {}
    # Without finetuning the two weights are the same.
    for stage in ("pretrained",) if variant.without_finetune else ("pretrained", "finetuned"):
        estimate = load_estimate(job.input(stage), light, variant, device, arguments, options.batch_size)
        estimator = PatchEstimator(
            estimate, light, variant, arguments.training_seed, has_spread=not variant.damped_stitching
        )
        # The published arm, known to be wrong, gets no perturbed scans; nor do finetuned weights, adapted to others.
        perturbed = variant == VARIANTS["corrected"] and stage == "pretrained"
        result |= estimator.predict(stage, test, perturbed=perturbed)
    return result
