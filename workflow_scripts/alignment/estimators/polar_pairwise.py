"""Circular correlation of the amplitude spectra of two images along the angle, rings weighted by √radius."""

import torch
from torch import Tensor

from workflow_scripts.alignment.networks.aligner import Aligner
from workflow_scripts.alignment.networks.polar_alignment import FIRST_RING, LAST_RING, amplitude_spectra, pairwise
from workflow_scripts.alignment.simulation.labels import FITTED
from workflow_scripts.workflow.command import Job


def make(job: Job, device: torch.device) -> dict[str, Aligner]:
    """The aligner of the only stage; it compares pairs."""
    return {FITTED: Aligner(pair_deg=pair_deg)}


def pair_deg(images: Tensor) -> Tensor:
    """angle(i) − angle(i + 1) in [0, 180), (N − 1,) degrees, of images (N, n, n)."""
    radius = torch.arange(FIRST_RING, LAST_RING + 1, device=images.device)
    spectra = amplitude_spectra(images) * radius.sqrt()[:, None]  # a ring has as many independent values as periods
    return pairwise(spectra[:-1], spectra[1:])
