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
from workflow_scripts.alignment.apply.streaming import SAMPLE, AlignmentOptions, Template, align_streamed, compare
from workflow_scripts.alignment.evaluation.averages import HALF_SETS, frc, frc_resolution, superimpose
from workflow_scripts.alignment.evaluation.errors import rotation_error_deg, shift_error_px
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

    def quality(self, pixel_size_a: float) -> dict[str, Any]:
        """Numbers of its validation, as plain JSON.

        The resolution is the period at which the ring correlation falls below 0.143 or below that of noise; null where
        the halves agree nowhere.
        """
        limit = np.maximum(self.curve["noise"], HALF_SETS)
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
        """Differences from another estimator's poses, after the one motion between the two averages.

        Args:
            sample: the other estimator's, of all of these particles or of a sample.
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
        """Share of the particles whose shift, rotated back, lies within a pixel of the largest one allowed."""
        shift_px = turned_offsets(self.shift_px, -self.angle_deg)
        return float(np.mean(np.abs(shift_px).max(axis=1) > largest_shift_px - _EDGE_PX))


def align_particles(user: UserParticles, options: AlignmentOptions, reference: Tensor | None = None) -> AlignmentResult:
    """Align the particles, and their halves apart."""
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
    """The same for a sample of the particles, evenly spaced, for comparison with another estimator."""
    indices = spaced(len(user), SAMPLE)
    return replace(align_particles(user.subset(indices), options), indices=indices)


def cross_scores(
    images: UserParticles, options: AlignmentOptions, template: Template, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (K,) of particles against a template that does not include them, and of them with random phases."""
    sample = spaced(len(images), _CROSSED)
    scores = []
    for batch in index_batches(len(sample), options.batch_size):
        both = images.read(sample[batch]), images.read(sample[batch], generator)
        scores.append([compare(batch_images, options, template)[0].score.double().cpu() for batch_images in both])
    measured, null = (torch.cat(parts).numpy() for parts in zip(*scores, strict=True))
    return measured, null


def half_set_curve(first: Tensor, second: Tensor, generator: torch.Generator) -> pd.DataFrame:
    """Ring correlation of two averages (n, n), the second superimposed on the first, and that of noise.

    Args:
        generator: of the random phases, on the CPU.

    Returns:
        The columns of `averages.frc`, and `noise`: the 95th percentile over averages with the second's spectrum and
        random phases, superimposed on the first in the same way.
    """
    curve = frc(superimpose(second, first), first)
    scrambled = random_phases(second.expand(_NULL_AVERAGES, -1, -1), generator)
    null_curves = [frc(superimpose(image, first), first)["frc"].to_numpy() for image in scrambled]
    return curve.assign(noise=np.quantile(np.stack(null_curves), _NULL_QUANTILE, axis=0))


def mean_image(user: UserParticles, batch_size: int, poses: Poses | None = None) -> Tensor:
    """Mean (n, n) of the particles in the user's box, phases flipped, aligned where poses are given."""
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
