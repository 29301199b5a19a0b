"""Alignment of the user's particles, and its validation without a truth.

Noise that is aligned to an average of itself resembles it (doi:10.1073/pnas.1314449110). So the validation uses halves
that were aligned apart, each from its own particles alone: the ring correlation of their superimposed averages, and the
correlation of particles of one half with the average of the other. Both are compared with the same images with random
phases.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.alignment.apply.data import UserParticles, random_phases
from workflow_scripts.alignment.apply.streaming import (
    SAMPLE,
    AlignmentOptions,
    Encode,
    Template,
    align_streamed,
    compare,
    half_indices,
)
from workflow_scripts.alignment.evaluation.averages import HALF_SETS, frc, frc_resolution, superimpose
from workflow_scripts.alignment.evaluation.errors import circular_difference, circular_median, shift_error_px
from workflow_scripts.alignment.networks.branch import Poses
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.formats.particles import index_batches, spaced
from workflow_scripts.formats.poses import turned_offsets

_CROSSED = 1024  # particles of each half, at most, that are compared with the other half
_NULL_QUANTILE = 0.95
_NULL_AVERAGES = 20
_EDGE_PX = 1.0


@dataclass(frozen=True)
class AlignmentResult:
    """Poses by one estimator, in the user's pixels, and their validation.

    indices: (N,) which of the user's particles.
    angle_deg: float64 (N,) in [0, 360). shift_px: float64 (N, 2) [y, x].
    score: float64 (N,), correlation with the average of the others.
    cross_score, null_score: float64 (K,), of particles with the average of the half that they are not in, and of the
        same images with random phases.
    curve: ring correlation of the half sets: columns of `averages.frc`, and `noise`, which 5 in 100 averages with
        random phases exceed.
    average: float32 (n, n) in the user's box, density bright, phases flipped.
    """

    indices: np.ndarray
    angle_deg: np.ndarray
    shift_px: np.ndarray
    score: np.ndarray
    cross_score: np.ndarray
    null_score: np.ndarray
    curve: pd.DataFrame
    average: np.ndarray

    @property
    def resolution_px(self) -> float:
        """Period at which the ring correlation falls below 0.143, or that of noise; infinite where at once."""
        limit = np.maximum(self.curve["noise"], HALF_SETS)
        return frc_resolution(self.curve.assign(frc=self.curve["frc"] - limit), 0.0)

    def quality(self, pixel_size_a: float) -> dict[str, Any]:
        """Numbers of its validation, as plain JSON; the resolution is null where the halves agree nowhere."""
        period_px, threshold = self.resolution_px, float(np.quantile(self.null_score, _NULL_QUANTILE))
        return {
            "particles": len(self.indices),
            "half_set_resolution_a": period_px * pixel_size_a if math.isfinite(period_px) else None,
            "score": _quantiles(self.score),
            "score_against_other_half": _quantiles(self.cross_score),
            "score_of_random_phases": _quantiles(self.null_score),
            "fraction_resolved": float(np.mean(self.cross_score > threshold)),
            "fraction_resolved_of_noise": 1 - _NULL_QUANTILE,
            "shift_px": _quantiles(np.linalg.norm(self.shift_px, axis=1)),
        }


def options_for(
    user: UserParticles, encode: Encode, symmetry_fold: int, rounds: int, batch_size: int
) -> AlignmentOptions:
    """Options for the user's particles and one estimator; small stacks get more sweeps."""
    furthest = user.largest_shift_px / user.scale
    sweeps = max(2, min(rounds, 6, 4 * SAMPLE // len(user)))
    return AlignmentOptions(encode, user.reference_mask(), furthest, symmetry_fold, rounds, batch_size, sweeps)


def align_particles(user: UserParticles, options: AlignmentOptions, reference: Tensor | None = None) -> AlignmentResult:
    """Align the particles, and their halves apart."""
    poses = _in_user_px(user, align_streamed(user, options, reference)[0])
    averages, templates = [], []
    halves = half_indices(len(user))
    for indices in halves:
        half = user.subset(indices)
        half_poses, template = align_streamed(half, options, reference)
        templates.append(template)
        averages.append(_average(half, _in_user_px(half, half_poses), options.batch_size))
    generator = torch.Generator().manual_seed(0)
    crossed = [
        cross_scores(user.subset(indices), options, other, generator)
        for indices, other in zip(halves, reversed(templates), strict=True)
    ]
    scores, null_scores = (np.concatenate(parts) for parts in zip(*crossed, strict=True))
    return AlignmentResult(
        np.arange(len(user)),
        poses.angle_deg.double().numpy(),
        poses.shift_px.double().numpy(),
        poses.score.double().numpy(),
        scores,
        null_scores,
        half_set_curve(*averages, generator),
        _average(user, poses, options.batch_size).cpu().numpy(),
    )


def align_sample(user: UserParticles, options: AlignmentOptions) -> AlignmentResult:
    """The same for a sample of the particles, evenly spaced, for comparison with another estimator."""
    indices = spaced(len(user), SAMPLE)
    return replace(align_particles(user.subset(indices), options), indices=indices)


def cross_scores(
    images: UserParticles, options: AlignmentOptions, template: Template, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (K,) of particles against a template that does not include them, and of them with random phases."""
    chosen = spaced(len(images), _CROSSED)
    scores, null_scores = [], []
    for batch in index_batches(len(chosen), options.batch_size):
        indices = chosen[batch]
        for values, compared in ((scores, images.read(indices)), (null_scores, images.read(indices, generator))):
            values.append(compare(compared, options, template)[0].score.double().cpu().numpy())
    return np.concatenate(scores), np.concatenate(null_scores)


def half_set_curve(first: Tensor, second: Tensor, generator: torch.Generator) -> pd.DataFrame:
    """Ring correlation of two averages (n, n), the second superimposed on the first, and that of noise.

    Args:
        generator: of the random phases, on the CPU.

    Returns:
        The columns of `averages.frc`, and `noise`: the 95th percentile over averages with the second's spectrum and
        random phases, laid on the first in the same options.
    """
    curve = frc(superimpose(second, first)[0], first)
    scrambled = random_phases(second.expand(_NULL_AVERAGES, -1, -1), generator)
    null_curves = [frc(superimpose(image, first)[0], first)["frc"].to_numpy() for image in scrambled]
    return curve.assign(noise=np.quantile(np.stack(null_curves), _NULL_QUANTILE, axis=0))


def agreement(first: AlignmentResult, second: AlignmentResult, period_deg: float) -> dict[str, float]:
    """Differences of two estimators' poses of the same particles, after the one motion between their averages.

    Args:
        first: of all particles.
        second: of a sample of them.
        period_deg: of the angle, 360 / symmetry_fold.
    """
    angle_deg, shift_px = first.angle_deg[second.indices], first.shift_px[second.indices]
    difference = circular_difference(second.angle_deg, angle_deg, period_deg)
    apart = np.abs(circular_difference(difference, circular_median(difference, period_deg), period_deg))
    distance = shift_error_px(second.angle_deg, second.shift_px, shift_px)
    return {
        "median_rotation_difference_deg": float(np.median(apart)),
        "median_shift_difference_px": float(np.median(distance)),
    }


def share_at_largest_shift(user: UserParticles, result: AlignmentResult) -> float:
    """Share of the particles whose shift, rotated back, lies within a pixel of the largest one allowed."""
    shift_px = turned_offsets(result.shift_px, -result.angle_deg)
    return float(np.mean(np.abs(shift_px).max(axis=1) > user.largest_shift_px - _EDGE_PX))


def _average(user: UserParticles, poses: Poses, batch_size: int) -> Tensor:
    """Mean (n, n) of the aligned particles in the user's box."""
    total = torch.zeros(user.particles.box_px, user.particles.box_px, device=user.device)
    for indices in index_batches(len(user), batch_size):
        images = user.corrected(indices)
        angle_deg, shift_px = poses.angle_deg[indices].to(images), poses.shift_px[indices].to(images)
        total += align(images, angle_deg, shift_px).sum(dim=0)
    return total / len(user)


def _in_user_px(user: UserParticles, poses: Poses) -> Poses:
    return Poses(poses.angle_deg, poses.shift_px * user.scale, poses.score)


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) for q in (5, 25, 50, 75, 95)}
