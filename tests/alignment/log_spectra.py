"""The input of the published baseline, as far as it is known: logarithms of spectra."""

import math

import torch
from torch.nn.functional import grid_sample

from workflow_scripts.alignment.networks.polar_alignment import ANGLES, FIRST_RING, LAST_RING, standardised

_BATCH = 256


def log_spectra(images):
    """log(1 + |F|) as the published recipe has it, on rings 2 to 16.

    The discrete spectrum of an image of unit variance goes through the logarithm and is read on rings half a period
    apart by linear interpolation. Each ring loses its mean and counts in a correlation by its circumference, as area
    does. This is the input of the pinned baseline.

    Args:
        images: (N, n, n), n ≥ 36.

    Returns:
        (N, 29, 180) float.

    Raises:
        ValueError: the images are too small for ring 16.
    """
    rings = torch.arange(FIRST_RING, LAST_RING + 0.25, 0.5, device=images.device)
    n, outermost = images.shape[-1], LAST_RING + 1
    if n < 2 * (outermost + 1):
        raise ValueError(f"ring {LAST_RING} needs images of at least {2 * (outermost + 1)} pixels, not {n}")
    theta = torch.arange(ANGLES, device=images.device) * (math.pi / ANGLES)
    grid = torch.stack([rings[:, None] * torch.cos(theta), rings[:, None] * torch.sin(theta)], dim=-1) / outermost
    wanted = torch.arange(-outermost, outermost + 1, device=images.device)
    rows = []
    for batch in images.split(_BATCH):
        spectrum = torch.fft.fft2(standardised(batch))[:, wanted % n][:, :, wanted % n]
        amplitude = torch.log1p(spectrum.abs())  # (B, 35, 35)
        rows.append(grid_sample(amplitude[:, None], grid.expand(len(batch), -1, -1, -1), align_corners=True)[:, 0])
    spectra = torch.cat(rows)
    return (spectra - spectra.mean(dim=-1, keepdim=True)) * rings.sqrt()[:, None]
