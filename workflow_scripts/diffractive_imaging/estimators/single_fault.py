"""The corrected arm trained shortly, with one fault of the published recipe or without any.

A fault that only changes how an image is made needs no training: the weights without any fault serve for it too.
"""

import torch

from workflow_scripts.diffractive_imaging.networks.imaging import (
    PatchEstimator,
    Predictions,
    predict_patches,
    reconstruct_all,
)
from workflow_scripts.diffractive_imaging.networks.reconstruction import load_estimate
from workflow_scripts.diffractive_imaging.settings import ABLATIONS, IMAGE_FAULTS, NO_FAULT, arm_named, with_fault
from workflow_scripts.diffractive_imaging.settings import InferenceSettings as Options
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, full_dose_photographs, read_scan
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job


def predict(job: Job, device: torch.device) -> Predictions:
    """Patches of the test set and images of the photographs at full dose, under conditions that name the fault.

    Raises:
        InputError: weights are missing, or no recipe with a single fault has the estimator's name.
    """
    job.require("pretrained")
    arguments, test = job.arguments, job.input("test")
    options: Options = arguments.options
    trained_fault = arm_named(arguments.estimator, ABLATIONS)
    light = Illumination.read(test)
    weights, variant = job.input("pretrained"), with_fault(trained_fault)
    estimate = load_estimate(weights, light, variant, device, arguments, options.batch_size)
    result = predict_patches(estimate, "pretrained", test, fault=trained_fault)
    photographs = full_dose_photographs(test)
    measured = [read_scan(test, name, light.dose_e) for name in photographs.scans]
    for fault in (NO_FAULT, *IMAGE_FAULTS) if trained_fault == NO_FAULT else (trained_fault,):
        estimator = PatchEstimator(estimate, light, with_fault(fault), arguments.training_seed)
        where = condition(**photographs.where, fault=fault)
        result["pretrained", where] = reconstruct_all(estimator.reconstruct, measured, light.dose_e)
    return result
