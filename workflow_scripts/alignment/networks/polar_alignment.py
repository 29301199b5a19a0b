"""Two classical baselines that find the angle mod 180 from spectra alone: pair by pair, and all particles jointly.

The amplitude |F| of the spectrum rotates with the particle and does not move with it. Resampled on rings, a rotation
is a shift along the angle, and the circular correlation of two particles, summed over the rings, peaks at their
relative angle. The joint baseline averages the aligned spectra and aligns every particle against the average, again
and again. No truth and no clean image enters.
"""

import math

import torch
from torch import Tensor

from workflow_scripts.alignment.simulation.geometry import angular_correlation, peak, polar_power_spectra

FIRST_RING, LAST_RING = 2, 16  # periods per image
ANGLES = 180  # samples of half a turn
_BATCH = 256


def amplitude_spectra(images: Tensor) -> Tensor:
    """|F| on rings 2 to 16, read from a spectrum four times as fine, since the discrete one is too coarse for linear
    interpolation. Each ring loses its mean.

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
        spectra_a, spectra_b: (N, R, angles), such as ``amplitude_spectra``, or one of them (1, R, angles).

    Returns:
        (N,) degrees, finer than the sampling by a parabola.
    """
    place, _ = peak(angular_correlation(spectra_a, spectra_b))
    return place * (180 / spectra_a.shape[-1])


def joint(spectra: Tensor, iterations: int = 15) -> tuple[Tensor, Tensor]:
    """The angle of every particle against the average of all, which starts as the first particle alone.

    A particle is compared with the average of the *others*: its own noise would hold it where it is.

    Args:
        spectra: (N, R, angles), N ≥ 2.
        iterations: rounds of averaging and aligning; it stops earlier where no angle moves by 0.001°.

    Returns:
        angle_deg (N,) in [0, 180), up to one offset, and the average spectrum (R, angles) at angle 0.
    """
    samples = spectra.shape[-1]
    self_correlation = angular_correlation(spectra, spectra)  # (N, angles)
    angle = pairwise(spectra, spectra[:1])
    for _ in range(iterations):
        total = rotated_rows(spectra, -angle).sum(dim=0, keepdim=True)
        others = angular_correlation(spectra, total) - rotated_rows(self_correlation[:, None], angle)[:, 0]
        place, _ = peak(others)
        previous, angle = angle, place * (180 / samples)
        if float((torch.remainder(angle - previous + 90, 180) - 90).abs().max()) < 1e-3:
            break
    return angle, rotated_rows(spectra, -angle).mean(dim=0)


def rotated_rows(spectra: Tensor, angle_deg: Tensor) -> Tensor:
    """Rows (N, R, angles) of images that are rotated by +angle (N,), by a Fourier shift along the angle."""
    samples = spectra.shape[-1]
    orders = torch.arange(samples // 2 + 1, device=spectra.device)
    phase = (-2 * math.pi / 180) * angle_deg.to(spectra)[:, None, None] * orders
    return torch.fft.irfft(torch.fft.rfft(spectra) * torch.polar(torch.ones_like(phase), phase), n=samples)


def standardised(images: Tensor) -> Tensor:
    """Zero mean and unit variance; an image without contrast stays zero."""
    centred = images - images.mean(dim=(1, 2), keepdim=True)
    return centred / centred.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-20)
