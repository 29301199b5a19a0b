"""Two classical baselines that estimate the angle mod 180 from amplitude spectra: pairwise, and all images jointly.

The amplitude |F| of the spectrum rotates with the particle but is invariant to its shift. Resampled on rings, a
rotation is a shift along the angle, and the circular correlation of two images, summed over the rings, peaks at their
relative angle. The joint baseline averages the aligned spectra and aligns every image against the average, iteratively.
It uses neither true poses nor noise-free images.
"""

import math

import torch
from torch import Tensor

from workflow_scripts.alignment.simulation.geometry import angular_correlation, peak, polar_power_spectra

FIRST_RING, LAST_RING = 2, 16  # periods per image
ANGLES = 180  # samples of half a turn
_BATCH = 256


def amplitude_spectra(images: Tensor) -> Tensor:
    """|F| on rings 2 to 16, less the mean of each ring.

    It is interpolated linearly in a spectrum sampled four times as finely as the discrete one, which is too coarse.

    Args:
        images: (N, n, n), n ≥ 34.

    Returns:
        (N, 15, 180) float.
    """
    rings = torch.arange(FIRST_RING, LAST_RING + 1, device=images.device)
    rows = [polar_power_spectra(standardised(batch), rings, ANGLES).sqrt() for batch in images.split(_BATCH)]
    spectra = torch.cat(rows)
    return (spectra - spectra.mean(dim=-1, keepdim=True)) / images.shape[-1]


def pairwise(spectra_a: Tensor, spectra_b: Tensor) -> Tensor:
    """angle(A) − angle(B) of pairs in [0, 180).

    Args:
        spectra_a, spectra_b: (N, R, angles), such as ``amplitude_spectra``; one of the two may be (1, R, angles).

    Returns:
        (N,) degrees; a parabola through the peak makes them finer than the sampling.
    """
    position, _ = peak(angular_correlation(spectra_a, spectra_b))
    return position * (180 / spectra_a.shape[-1])


def joint(spectra: Tensor, iterations: int = 15) -> tuple[Tensor, Tensor]:
    """The angle of every image against the average of all; the first image is the initial average.

    Each image is compared with the average of the *others*: its own noise would pin it to its current angle.

    Args:
        spectra: (N, R, angles), N ≥ 2.
        iterations: largest number of rounds of averaging and aligning; stops when no angle changes by 0.001°.

    Returns:
        angle_deg (N,) in [0, 180), up to a common offset, and the average spectrum (R, angles) at angle 0.
    """
    samples = spectra.shape[-1]
    self_correlation = angular_correlation(spectra, spectra)  # (N, angles)
    angle = pairwise(spectra, spectra[:1])
    for _ in range(iterations):
        total = rotated_rows(spectra, -angle).sum(dim=0, keepdim=True)
        others = angular_correlation(spectra, total) - rotated_rows(self_correlation[:, None], angle)[:, 0]
        position, _ = peak(others)
        previous, angle = angle, position * (180 / samples)
        if float((torch.remainder(angle - previous + 90, 180) - 90).abs().max()) < 1e-3:
            break
    return angle, rotated_rows(spectra, -angle).mean(dim=0)


def rotated_rows(spectra: Tensor, angle_deg: Tensor) -> Tensor:
    """Polar spectra (N, R, angles) of the images rotated by +angle (N,): a Fourier shift along the angle."""
    samples = spectra.shape[-1]
    orders = torch.arange(samples // 2 + 1, device=spectra.device)
    phase = (-2 * math.pi / 180) * angle_deg.to(spectra)[:, None, None] * orders
    return torch.fft.irfft(torch.fft.rfft(spectra) * torch.polar(torch.ones_like(phase), phase), n=samples)


def standardised(images: Tensor) -> Tensor:
    """Zero mean and unit variance; an image without contrast stays zero."""
    centred = images - images.mean(dim=(1, 2), keepdim=True)
    return centred / centred.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-20)
