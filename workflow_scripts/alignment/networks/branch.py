"""From angles mod 180 to whole poses: the 180° branch and the translation, by cross-correlation.

An image rotated back by its angle differs from the reference by half a turn or none, and by a shift. Both
cross-correlations come from one spectrum, since half a turn conjugates it; the higher peak decides, and a parabola
refines it. The result is angle_deg in [0, 360), shift_px and the correlation coefficient as score.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.simulation.geometry import align, half_plane_weights, peak_2d, resized_spectra, rotate

_BATCH = 128
_SMALL_PX = 64  # box in which branch and place are sought; the final pass uses every pixel
_CENTRING_ROUNDS = 4


@dataclass(frozen=True)
class Poses:
    """Where each particle stands against the reference; conventions of geometry.py.

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


def resolve(images: Tensor, angle_deg_mod180: Tensor, reference: Tensor, furthest_px: float | None = None) -> Poses:
    """Branch, shift and score of each image against a reference.

    Args:
        images: (N, n, n); handled in batches.
        angle_deg_mod180: (N,).
        reference: (n, n), or (N, n, n), one for each image.
        furthest_px: the largest shift along an axis of the image rotated back; n/4 where None.
    """
    furthest = _furthest(images, furthest_px)
    matches = [
        _correlate(centred_spectra(rotate(batch, angle)), centred_spectra(references), furthest)
        for batch, angle, references in _batches(images, -angle_deg_mod180, reference.expand_as(images))
    ]
    return _poses(angle_deg_mod180, *(torch.cat(values) for values in zip(*matches, strict=True)))


def align_stack(
    images: Tensor, angle_deg_mod180: Tensor, rounds: int = 6, furthest_px: float | None = None
) -> tuple[Poses, Tensor]:
    """Poses and average of a stack from nothing but its angles mod 180.

    1. The even parts (under half a turn) do not depend on the branch: all images are centred on their average.
    2. Rounds of averaging and aligning follow, from one branch for all, each image against the average of the others:
       against an average of few images that includes itself, its own noise would keep it where it is. The last round
       is at full resolution.

    Args:
        images: (N, n, n), N ≥ 2.
        angle_deg_mod180: (N,), of one estimator, up to one offset.
        rounds: of step 2.
        furthest_px: as in ``resolve``.

    Returns:
        poses, whose score is against the average of the others, and the average (n, n), of mean position 0.
    """
    n = images.shape[-1]
    small = min(n, _SMALL_PX)
    reach = _furthest(images, furthest_px) * small / n
    spectra = torch.cat(
        [resized_spectra(centred_spectra(rotate(*parts)), small) for parts in _batches(images, -angle_deg_mod180)]
    )  # (N, small, small//2 + 1)
    place = _centred(spectra, reach)
    half_turn = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for _ in range(rounds):
        half_turn, place, _ = _against_the_others(lambda: spectra.split(_BATCH), half_turn, place, reach)
        place = place - place.median(dim=0).values
    place = place * (n / small)

    def all_pixels() -> Iterator[Tensor]:
        return (centred_spectra(rotate(*parts)) for parts in _batches(images, -angle_deg_mod180))

    matches = _against_the_others(all_pixels, half_turn, place, _furthest(images, furthest_px))
    poses = _poses(angle_deg_mod180, *matches)
    return poses, class_average(images, poses)


def class_average(images: Tensor, poses: Poses) -> Tensor:
    """Mean (n, n) of the aligned images (N, n, n)."""
    total = torch.zeros_like(images[0])
    for parts in _batches(images, poses.angle_deg, poses.shift_px):
        total += align(*parts).sum(dim=0)
    return total / len(images)


def _against_the_others(
    spectra: Callable[[], Iterable[Tensor]], half_turn: Tensor, place: Tensor, furthest: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Branch, place and score of each image against the average of the others at their present poses.

    Args:
        spectra: returns, at each of two calls, the batches of spectra of the images rotated back.
        half_turn: (N,) bool; place: (N, 2), present poses.
    """
    poses = list(_batches(half_turn, place))
    total = sum(_aligned(batch, *pose).sum(dim=0, keepdim=True) for batch, pose in zip(spectra(), poses, strict=True))
    matches = [
        _correlate(batch, total - _aligned(batch, *pose), furthest)
        for batch, pose in zip(spectra(), poses, strict=True)
    ]
    return tuple(torch.cat(values) for values in zip(*matches, strict=True))


def _correlate(spectra: Tensor, reference: Tensor, furthest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Half a turn or none (N,), the place [y, x] (N, 2) of the rotated image and the correlation coefficient (N,)."""
    places, heights = zip(
        *(peak_2d(_correlation(candidate, reference), furthest) for candidate in (spectra, spectra.conj())), strict=True
    )
    half_turn = heights[1] > heights[0]
    place = torch.where(half_turn[:, None], places[1], places[0])
    norm = (_energy(spectra) * _energy(reference)).sqrt().clamp_min(1e-30)
    return half_turn, place, torch.maximum(*heights) / norm


def _centred(spectra: Tensor, furthest: float) -> Tensor:
    """Place (N, 2) of each image rotated back against the average of the even parts, whose spectra are real."""
    place = torch.zeros(len(spectra), 2, device=spectra.device)
    for _ in range(_CENTRING_ROUNDS):
        even = sum(_moved(*parts).real.sum(dim=0, keepdim=True) for parts in _batches(spectra, -place))
        place = torch.cat([peak_2d(_correlation(batch, even), furthest)[0] for batch in spectra.split(_BATCH)])
    return place


def _poses(angle_deg: Tensor, half_turn: Tensor, place: Tensor, score: Tensor) -> Poses:
    """The place is that of the image rotated back; the shift of the pose is the place rotated forth."""
    whole = torch.remainder(torch.remainder(angle_deg, 360) + 180 * half_turn, 360)
    whole = torch.where(whole >= 360, torch.zeros_like(whole), whole)  # a hair below zero rounds to 360
    angle = torch.deg2rad(whole)
    y, x = place.unbind(-1)
    forth = torch.stack(
        [torch.sin(angle) * x + torch.cos(angle) * y, torch.cos(angle) * x - torch.sin(angle) * y], dim=-1
    )
    return Poses(whole, forth, score)


def centred_spectra(images: Tensor) -> Tensor:
    """Spectra (N, n, n//2 + 1) of images about the centre [n//2, n//2]: half a turn is their conjugate."""
    centre = images.shape[-1] // 2
    return torch.fft.rfft2(images.roll((-centre, -centre), dims=(1, 2)))


def _moved(spectra: Tensor, shift_px: Tensor) -> Tensor:
    """Spectra (N, n, n//2 + 1) of the images moved by shift_px (N, 2) pixels of their own box."""
    n = spectra.shape[1]
    rows = torch.fft.fftfreq(n, device=spectra.device)[:, None]
    columns = torch.arange(spectra.shape[2], device=spectra.device) / n
    phase = -2 * math.pi * (rows * shift_px[:, :1, None] + columns * shift_px[:, 1:, None])
    return spectra * torch.polar(torch.ones_like(phase), phase)


def _aligned(spectra: Tensor, half_turn: Tensor, place: Tensor) -> Tensor:
    return _moved(torch.where(half_turn[:, None, None], spectra.conj(), spectra), -place)


def _correlation(spectra: Tensor, reference: Tensor) -> Tensor:
    """(N, n, n): at t the sum of image(p + t) reference(p)."""
    return torch.fft.irfft2(spectra * reference.conj(), s=(spectra.shape[1],) * 2)


def _energy(spectra: Tensor) -> Tensor:
    """Sum of squares (N,) of the images that have these spectra (N, n, n//2 + 1)."""
    n = spectra.shape[1]
    return (spectra.abs().square().sum(dim=1) * half_plane_weights(n, spectra.device)).sum(dim=1) / n**2


def _furthest(images: Tensor, furthest_px: float | None) -> float:
    return images.shape[-1] / 4 if furthest_px is None else furthest_px


def _batches(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(_BATCH) for tensor in tensors), strict=True)
