"""A baseline that takes every image as it stands: all angles are zero."""

import torch
from torch import Tensor

from workflow_scripts.alignment.networks.aligner import Aligner
from workflow_scripts.alignment.simulation.labels import FITTED
from workflow_scripts.workflow.command import Job


def make(job: Job, device: torch.device) -> dict[str, Aligner]:
    """The estimator by its only stage; it compares pairs, and aligns jointly."""
    return {FITTED: Aligner(pair_deg=lambda images: no_turns(images[1:]), joint_deg=no_turns)}


def no_turns(images: Tensor) -> Tensor:
    """Angles (N,) of images (N, n, n), degrees."""
    return torch.zeros(len(images), device=images.device)
