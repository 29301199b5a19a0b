"""A trained network: either arm with the weights of both training stages, or an arm with a single fault."""

from dataclasses import replace
from pathlib import Path

import torch

from workflow_scripts.diffractive_imaging.networks.imaging import (
    PatchEstimator,
    Predictions,
    predict_patches,
    reconstruct_all,
)
from workflow_scripts.diffractive_imaging.networks.reconstruction import load_estimate
from workflow_scripts.diffractive_imaging.settings import ABLATIONS, ARMS, IMAGE_FAULTS, NO_FAULT, VARIANTS, with_fault
from workflow_scripts.diffractive_imaging.settings import InferenceSettings as Options
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, full_dose_photographs
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError


def predict(job: Job, device: torch.device) -> Predictions:
    """Predictions of the pretrained weights and, if the arm is finetuned, of the finetuned ones.

    Raises:
        InputError: weights are missing, or no arm has the estimator's name.
    """
    arguments, test = job.arguments, job.input("test")
    options: Options = arguments.options
    job.require("pretrained")
    if arguments.estimator not in ARMS:
        raise InputError(f"--estimator is {arguments.estimator}, but its module has the arms {', '.join(ARMS)}")
    variant, light = ARMS[arguments.estimator], Illumination.read(test)

    def estimator(stage: str) -> PatchEstimator:
        estimate = load_estimate(job.input(stage), light, variant, device, arguments, options.batch_size)
        return PatchEstimator(estimate, light, variant, arguments.training_seed)

    if arguments.estimator in ABLATIONS:
        return _predict_with_fault(estimator("pretrained"), ABLATIONS[arguments.estimator], test)
    job.require("finetuned")
    result: Predictions = {}
    # Without finetuning both stages have the same weights.
    for stage in ("pretrained",) if variant.without_finetune else ("pretrained", "finetuned"):
        # No perturbed scans for the published arm, known to be wrong, nor for weights finetuned on other scans.
        perturbed = variant == VARIANTS["corrected"] and stage == "pretrained"
        with_spread = replace(estimator(stage), has_spread=not variant.damped_stitching)
        result |= with_spread.predict(stage, test, perturbed=perturbed)
    return result


def _predict_with_fault(estimator: PatchEstimator, trained_fault: str, test: Path) -> Predictions:
    """Patches of the test set and images of the photographs at full dose, under conditions that name the fault.

    A fault that only changes how an image is stitched needs no training: it uses the weights trained without faults.
    """
    result = predict_patches(estimator.estimate, "pretrained", test, fault=trained_fault)
    photographs = full_dose_photographs(test)
    scans = photographs.read(test)
    for fault in (NO_FAULT, *IMAGE_FAULTS) if trained_fault == NO_FAULT else (trained_fault,):
        reconstruct = replace(estimator, variant=with_fault(fault)).reconstruct
        where = condition(**photographs.where, fault=fault)
        result["pretrained", where] = reconstruct_all(reconstruct, scans, photographs.dose_e)
    return result
