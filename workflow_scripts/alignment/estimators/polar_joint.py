"""Circular correlation of amplitude spectra along the angle: each image with the average of all others, iterated."""

import torch

from workflow_scripts.alignment.networks.aligner import Aligner
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, joint
from workflow_scripts.alignment.settings import PredictPolarJoint as Options
from workflow_scripts.alignment.simulation.labels import FITTED
from workflow_scripts.workflow.command import Job


def make(job: Job, device: torch.device) -> dict[str, Aligner]:
    """The aligner of the only stage; it aligns jointly."""
    options: Options = job.arguments.options
    return {FITTED: Aligner(joint_deg=lambda images: joint(amplitude_spectra(images), options.rounds)[0])}
