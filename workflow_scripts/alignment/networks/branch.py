"""From angles mod 180 to full poses: the 180° branch and the translation, by cross-correlation.

An image rotated back by its angle still differs from the reference by a shift and perhaps by 180°. Rotating an image by
180° conjugates its spectrum, so one Fourier transform gives the cross-correlations of both branches. The higher peak
selects the branch, and a parabola refines the peak. The result is angle_deg in [0, 360), shift_px and the correlation
coefficient as score.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.simulation.geometry import (
    align,
    half_plane_weights,
    peak_2d,
    resized_spectra,
    rotate,
    turned,
)

_BATCH = 128
_SMALL_PX = 64  # box in which branch and shift are searched first; the final pass uses the full resolution
_CENTRING_ROUNDS = 4


@dataclass(frozen=True)
class Poses:
    """Poses of particles relative to a reference, in the conventions of geometry.py.

    angle_deg: (N,) in [0, 360).
    shift_px: (N, 2) [y, x].
    score: (N,) correlation coefficient of the aligned image and the reference, −1 … 1.
    """

    angle_deg: Tensor
    shift_px: Tensor
    score: Tensor

    def subset(self, indices: np.ndarray, device: torch.device) -> "Poses":
        """The poses of these particles, on a device."""
        return Poses(*(values[indices].to(device) for values in vars(self).values()))


def resolve(
    images: Tensor, angle_deg_mod180: Tensor, reference: Tensor, largest_shift_px: float | None = None
) -> Poses:
    """Branch, shift and score of each image against a reference.

    Args:
        images: (N, n, n); processed in batches.
        angle_deg_mod180: (N,).
        reference: (n, n), or (N, n, n), one for each image.
        largest_shift_px: largest shift allowed along each axis, after the image is rotated back; None allows n/4.
    """
    shift_limit = _shift_limit(images, largest_shift_px)
    matches = [
        _correlate(centred_spectra(rotate(batch, angle)), centred_spectra(references), shift_limit)
        for batch, angle, references in _batches(images, -angle_deg_mod180, reference.expand_as(images))
    ]
    return _poses(angle_deg_mod180, *(torch.cat(values) for values in zip(*matches, strict=True)))


def align_stack(
    images: Tensor, angle_deg_mod180: Tensor, rounds: int = 6, largest_shift_px: float | None = None
) -> tuple[Poses, Tensor]:
    """Poses and average of a stack, given only its angles mod 180.

    1. Centring: the part of an image that is symmetric under 180° does not depend on the branch, so all images are
       centred on the average of these parts.
    2. Rounds of averaging and aligning, starting with the same branch for all. Each image is compared with the average
       of the others: its own noise in an average of few images would pin it to its current pose. The last round is at
       full resolution.

    Args:
        images: (N, n, n), N ≥ 2.
        angle_deg_mod180: (N,), of one estimator, up to a common offset.
        rounds: number of rounds in step 2.
        largest_shift_px: as in ``resolve``.

    Returns:
        The poses, whose score is the correlation with the average of the other images, and the average (n, n) of the
        stack, approximately centred.
    """
    n = images.shape[-1]
    small = min(n, _SMALL_PX)
    reach = _shift_limit(images, largest_shift_px) * small / n
    spectra = torch.cat(
        [resized_spectra(centred_spectra(rotate(*parts)), small) for parts in _batches(images, -angle_deg_mod180)]
    )  # (N, small, small//2 + 1)
    position = _centred(spectra, reach)
    half_turn = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for _ in range(rounds):
        half_turn, position, _ = _against_the_others(lambda: spectra.split(_BATCH), half_turn, position, reach)
        position = position - position.median(dim=0).values
    position = position * (n / small)

    def all_pixels() -> Iterator[Tensor]:
        return (centred_spectra(rotate(*parts)) for parts in _batches(images, -angle_deg_mod180))

    matches = _against_the_others(all_pixels, half_turn, position, _shift_limit(images, largest_shift_px))
    poses = _poses(angle_deg_mod180, *matches)
    return poses, class_average(images, poses)


def class_average(images: Tensor, poses: Poses) -> Tensor:
    """Mean (n, n) of the aligned images (N, n, n)."""
    total = torch.zeros_like(images[0])
    for parts in _batches(images, poses.angle_deg, poses.shift_px):
        total += align(*parts).sum(dim=0)
    return total / len(images)


def _against_the_others(
    spectra: Callable[[], Iterable[Tensor]], half_turn: Tensor, position: Tensor, shift_limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Branch, position and score of each image against the average of the others at their current poses.

    Args:
        spectra: called twice; each call returns the spectra of the images rotated back, batch by batch.
        half_turn, position: current poses, bool (N,) and (N, 2).
    """
    poses = list(_batches(half_turn, position))
    total = sum(_aligned(batch, *pose).sum(dim=0, keepdim=True) for batch, pose in zip(spectra(), poses, strict=True))
    matches = [
        _correlate(batch, total - _aligned(batch, *pose), shift_limit)
        for batch, pose in zip(spectra(), poses, strict=True)
    ]
    return tuple(torch.cat(values) for values in zip(*matches, strict=True))


def _correlate(spectra: Tensor, reference: Tensor, shift_limit: float) -> tuple[Tensor, Tensor, Tensor]:
    """Whether an image is rotated by 180° (N,), its position [y, x] (N, 2) after that, and the correlation (N,)."""
    positions, heights = zip(
        *(peak_2d(_correlation(candidate, reference), shift_limit) for candidate in (spectra, spectra.conj())),
        strict=True,
    )
    half_turn = heights[1] > heights[0]
    position = torch.where(half_turn[:, None], positions[1], positions[0])
    norm = (_energy(spectra) * _energy(reference)).sqrt().clamp_min(1e-30)
    return half_turn, position, torch.maximum(*heights) / norm


def _centred(spectra: Tensor, shift_limit: float) -> Tensor:
    """Positions (N, 2) of the images rotated back, relative to the average of their parts symmetric under 180°.

    The spectra of these parts are real.
    """
    position = torch.zeros(len(spectra), 2, device=spectra.device)
    for _ in range(_CENTRING_ROUNDS):
        even = sum(_moved(*parts).real.sum(dim=0, keepdim=True) for parts in _batches(spectra, -position))
        position = torch.cat([peak_2d(_correlation(batch, even), shift_limit)[0] for batch in spectra.split(_BATCH)])
    return position


def _poses(angle_deg: Tensor, half_turn: Tensor, position: Tensor, score: Tensor) -> Poses:
    """Poses from positions of the images rotated back: the shift of a pose is the position rotated by its angle."""
    whole = torch.remainder(torch.remainder(angle_deg, 360) + 180 * half_turn, 360)
    whole = torch.where(whole >= 360, torch.zeros_like(whole), whole)  # tiny negative angles round to 360
    return Poses(whole, turned(position, whole), score)


def centred_spectra(images: Tensor) -> Tensor:
    """Spectra (N, n, n//2 + 1) of images about the centre [n//2, n//2]; a rotation by 180° conjugates them."""
    centre = images.shape[-1] // 2
    return torch.fft.rfft2(images.roll((-centre, -centre), dims=(1, 2)))


def _moved(spectra: Tensor, shift_px: Tensor) -> Tensor:
    """Spectra (N, n, n//2 + 1) of the images shifted by shift_px (N, 2), in pixels of the n × n box."""
    n = spectra.shape[1]
    rows = torch.fft.fftfreq(n, device=spectra.device)[:, None]
    columns = torch.arange(spectra.shape[2], device=spectra.device) / n
    phase = -2 * math.pi * (rows * shift_px[:, :1, None] + columns * shift_px[:, 1:, None])
    return spectra * torch.polar(torch.ones_like(phase), phase)


def _aligned(spectra: Tensor, half_turn: Tensor, position: Tensor) -> Tensor:
    return _moved(torch.where(half_turn[:, None, None], spectra.conj(), spectra), -position)


def _correlation(spectra: Tensor, reference: Tensor) -> Tensor:
    """Cross-correlation (N, n, n): Σ_p image(p + t) reference(p) at index t."""
    return torch.fft.irfft2(spectra * reference.conj(), s=(spectra.shape[1],) * 2)


def _energy(spectra: Tensor) -> Tensor:
    """Sum of squares (N,) of the images that have these spectra (N, n, n//2 + 1)."""
    n = spectra.shape[1]
    return (spectra.abs().square().sum(dim=1) * half_plane_weights(n, spectra.device)).sum(dim=1) / n**2


def _shift_limit(images: Tensor, largest_shift_px: float | None) -> float:
    return images.shape[-1] / 4 if largest_shift_px is None else largest_shift_px


def _batches(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(_BATCH) for tensor in tensors), strict=True)
