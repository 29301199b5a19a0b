"""A trained network of either arm, with the weights of both its stages."""

from functools import partial

import torch

from workflow_scripts.diffractive_imaging.networks.imaging import PatchEstimator, Predictions, predict_test_file
from workflow_scripts.diffractive_imaging.networks.reconstruction import estimate_patches, load_network
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
        estimate = partial(
            estimate_patches,
            load_network(job.input(stage)),
            light=light,
            variant=variant,
            device=device,
            precision=arguments.precision,
            batch_size=options.batch_size,
        )
        # The published arm, known to be wrong, gets no perturbed scans; nor do finetuned weights, adapted to others.
        takes_perturbed = variant == VARIANTS["corrected"] and stage == "pretrained"
        estimator = PatchEstimator(
            estimate,
            light,
            variant,
            arguments.training_seed,
            has_spread=not variant.damped_stitching,
            takes_perturbed=takes_perturbed,
        )
        result |= predict_test_file(estimator, stage, test)
    return result
