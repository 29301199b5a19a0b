"""Alignment of the user's particles, and its validation without ground truth.

Noise aligned to its own average resembles that average (doi:10.1073/pnas.1314449110). The validation therefore uses two
half sets that are aligned independently: the ring correlation of their superimposed averages, and the correlation of
the particles of one half with the average of the other. Both are compared with phase-randomised images.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.alignment.apply.data import UserParticles, random_phases
from workflow_scripts.alignment.apply.streaming import SAMPLE, AlignmentOptions, Template, align_streamed, compare
from workflow_scripts.alignment.evaluation.averages import HALF_SET_FRC, frc, frc_resolution, superimpose
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg, shift_error_px
from workflow_scripts.alignment.networks.branch import Poses
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.formats.particles import index_batches, spaced
from workflow_scripts.formats.poses import turned_offsets

_MOST_CROSS_SCORES = 1024  # particles of each half, at most, that are compared with the average of the other half
_NULL_QUANTILE = 0.95
_NULL_AVERAGES = 20
_EDGE_PX = 1.0


@dataclass(frozen=True)
class AlignmentResult:
    """Poses by one estimator, in pixels of the user's files, and their validation.

    indices: (N,), numbers of the user's particles.
    angle_deg: float64 (N,) in [0, 360).
    shift_px: float64 (N, 2) [y, x].
    score: float64 (N,), correlation with the average of the other particles.
    cross_score: float64 (K,), correlation of particles with the average of the half set that excludes them.
    null_score: float64 (K,), the same for phase-randomised images.
    curve: ring correlation of the half sets: columns of `averages.frc`, and `noise`, which 5 % of phase-randomised
        averages exceed.
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

    def quality(self, pixel_size_a: float) -> dict[str, Any]:
        """The validation as plain JSON.

        The resolution is the period at which the ring correlation falls below 0.143 or below that of noise; null if the
        half sets agree at no frequency.
        """
        limit = np.maximum(self.curve["noise"], HALF_SET_FRC)
        period_px = frc_resolution(self.curve.assign(frc=self.curve["frc"] - limit), 0.0)
        threshold = float(np.quantile(self.null_score, _NULL_QUANTILE))
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

    def agreement(self, sample: "AlignmentResult", period_deg: float) -> dict[str, float]:
        """Differences from another estimator's poses, after removing the rigid motion between the two averages.

        Args:
            sample: poses by the other estimator, of all of these particles or of some.
            period_deg: of the angle, 360 / symmetry_fold.
        """
        angle_deg, shift_px = self.angle_deg[sample.indices], self.shift_px[sample.indices]
        rotation_deg = rotation_error_deg(sample.angle_deg, angle_deg, period_deg)
        distance_px = shift_error_px(sample.angle_deg, sample.shift_px, shift_px)
        return {
            "median_rotation_difference_deg": float(np.median(rotation_deg)),
            "median_shift_difference_px": float(np.median(distance_px)),
        }

    def share_at_largest_shift(self, largest_shift_px: float) -> float:
        """Fraction of particles whose shift, rotated back, is within a pixel of the largest shift allowed."""
        shift_px = turned_offsets(self.shift_px, -self.angle_deg)
        return float(np.mean(np.abs(shift_px).max(axis=1) > largest_shift_px - _EDGE_PX))


def align_particles(user: UserParticles, options: AlignmentOptions, reference: Tensor | None = None) -> AlignmentResult:
    """Align all particles, and the two half sets independently."""
    poses = _in_user_px(user, align_streamed(user, options, reference)[0])
    averages, templates = [], []
    halves = [user.subset(np.arange(first, len(user), 2)) for first in (0, 1)]
    for half in halves:
        half_poses, template = align_streamed(half, options, reference)
        templates.append(template)
        averages.append(mean_image(half, options.batch_size, _in_user_px(half, half_poses)))
    generator = torch.Generator().manual_seed(0)
    crossed = [
        cross_scores(half, options, other_template, generator)
        for half, other_template in zip(halves, reversed(templates), strict=True)
    ]
    scores, null_scores = (np.concatenate(parts) for parts in zip(*crossed, strict=True))
    return AlignmentResult(
        np.arange(len(user)),
        *(values.double().numpy() for values in vars(poses).values()),
        scores,
        null_scores,
        half_set_curve(*averages, generator),
        mean_image(user, options.batch_size, poses).cpu().numpy(),
    )


def align_sample(user: UserParticles, options: AlignmentOptions) -> AlignmentResult:
    """As `align_particles`, for an evenly spaced sample of the particles: a comparison with another estimator."""
    indices = spaced(len(user), SAMPLE)
    return replace(align_particles(user.subset(indices), options), indices=indices)


def cross_scores(
    images: UserParticles, options: AlignmentOptions, template: Template, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (K,) of particles against a template that excludes them, and of the phase-randomised particles."""
    sample = spaced(len(images), _MOST_CROSS_SCORES)
    scores = []
    for batch in index_batches(len(sample), options.batch_size):
        both = images.read(sample[batch]), images.read(sample[batch], generator)
        scores.append([compare(batch_images, options, template)[0].score.double().cpu() for batch_images in both])
    measured, null = (torch.cat(parts).numpy() for parts in zip(*scores, strict=True))
    return measured, null


def half_set_curve(first: Tensor, second: Tensor, generator: torch.Generator) -> pd.DataFrame:
    """Ring correlation of two averages (n, n), the second superimposed on the first, and that of noise.

    Args:
        generator: for the random phases, on the CPU.

    Returns:
        The columns of `averages.frc`, and `noise`: the 95th percentile over copies of the second average with random
        phases, superimposed on the first in the same way.
    """
    curve = frc(superimpose(second, first), first)
    scrambled = random_phases(second.expand(_NULL_AVERAGES, -1, -1), generator)
    null_curves = [frc(superimpose(image, first), first)["frc"].to_numpy() for image in scrambled]
    return curve.assign(noise=np.quantile(np.stack(null_curves), _NULL_QUANTILE, axis=0))


def mean_image(user: UserParticles, batch_size: int, poses: Poses | None = None) -> Tensor:
    """Mean (n, n) of the particles in the user's box, phases flipped; aligned if poses are given."""
    total = torch.zeros(user.particles.box_px, user.particles.box_px, device=user.device)
    for indices in index_batches(len(user), batch_size):
        images = user.corrected(indices)
        if poses is not None:
            batch_poses = poses.subset(indices, user.device)
            images = align(images, batch_poses.angle_deg, batch_poses.shift_px)
        total += images.sum(dim=0)
    return total / len(user)


def _in_user_px(user: UserParticles, poses: Poses) -> Poses:
    return Poses(poses.angle_deg, poses.shift_px * user.scale, poses.score)


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) for q in (5, 25, 50, 75, 95)}
