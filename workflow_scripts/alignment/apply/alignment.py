"""Alignment of the user's particles, and what can be said about it without a truth.

Noise that is aligned to an average of itself resembles it (doi:10.1073/pnas.1314449110). So all that is said comes from
halves that were aligned apart, each from its own particles alone: the ring correlation of their averages, laid one on
the other, and how well particles of one half fit the average of the other. Both stand beside what the same images give
with random phases.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.alignment.apply.data import OwnParticles, random_phases
from workflow_scripts.alignment.apply.streaming import (
    START,
    Encode,
    Images,
    Template,
    Way,
    align_streamed,
    compare,
    half_indices,
    spaced,
)
from workflow_scripts.alignment.evaluation.averages import HALF_SETS, frc, frc_resolution, superimpose
from workflow_scripts.alignment.evaluation.errors import circular_difference, circular_median, shift_error_px
from workflow_scripts.alignment.networks.branch import Poses
from workflow_scripts.alignment.simulation.geometry import align

_CROSSED = 1024  # particles of each half, at most, that are compared with the other half
_NULL_QUANTILE = 0.95
_NULL_AVERAGES = 20
_EDGE_PX = 1.0


@dataclass(frozen=True)
class Found:
    """The poses that one estimator found, in the user's pixels, and how well they hold together.

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
        """Numbers about it, as plain JSON; the resolution is null where the halves agree nowhere."""
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


def way_of(own: OwnParticles, encode: Encode, symmetry_fold: int, rounds: int, batch_size: int) -> Way:
    """How the user's particles are compared by one estimator; small stacks are gone through more often."""
    furthest = own.largest_shift_px / own.scale
    sweeps = max(2, min(rounds, 6, 4 * START // len(own)))
    return Way(encode, own.reference_mask(), furthest, symmetry_fold, rounds, batch_size, sweeps)


def find(own: OwnParticles, way: Way, reference: Tensor | None = None) -> Found:
    """Align the particles, and their halves apart."""
    poses = _in_user_px(own, align_streamed(own, way, reference).poses)
    averages, templates = [], []
    halves = half_indices(len(own))
    for indices in halves:
        half = own.subset(indices)
        alone = align_streamed(half, way, reference)
        templates.append(alone.template)
        averages.append(_average(half, _in_user_px(half, alone.poses), way.batch_size))
    generator = torch.Generator().manual_seed(0)
    crossed = [
        cross_scores(own.subset(indices), way, other, generator)
        for indices, other in zip(halves, reversed(templates), strict=True)
    ]
    scores, null = (np.concatenate(parts) for parts in zip(*crossed, strict=True))
    return Found(
        np.arange(len(own)),
        poses.angle_deg.double().numpy(),
        poses.shift_px.double().numpy(),
        poses.score.double().numpy(),
        scores,
        null,
        half_set_curve(*averages, generator),
        _average(own, poses, way.batch_size).cpu().numpy(),
    )


def find_beside(own: OwnParticles, way: Way) -> Found:
    """The same by another estimator, of at most as many particles as begin an alignment, evenly spaced."""
    indices = spaced(len(own), START)
    return replace(find(own.subset(indices), way), indices=indices)


def cross_scores(
    images: Images, way: Way, template: Template, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (K,) of particles against a template that they had no part in, and of the same with random phases."""
    chosen = spaced(len(images), _CROSSED)
    scores, null = [], []
    for start in range(0, len(chosen), way.batch_size):
        here = chosen[start : start + way.batch_size]
        for found, batch in ((scores, images.read(here)), (null, images.read(here, generator))):
            found.append(compare(batch, way, template)[0].score.double().cpu().numpy())
    return np.concatenate(scores), np.concatenate(null)


def half_set_curve(first: Tensor, second: Tensor, generator: torch.Generator) -> pd.DataFrame:
    """Ring correlation of two averages (n, n) after the second is laid on the first, and what noise gives so.

    Args:
        generator: of the random phases, on the CPU.

    Returns:
        The columns of `averages.frc`, and `noise`: the 95th percentile over averages with the second's spectrum and
        random phases, laid on the first in the same way.
    """
    curve = frc(superimpose(second, first)[0], first)
    scrambled = random_phases(second.expand(_NULL_AVERAGES, -1, -1), generator)
    null = [frc(superimpose(one, first)[0], first)["frc"].to_numpy() for one in scrambled]
    return curve.assign(noise=np.quantile(np.stack(null), _NULL_QUANTILE, axis=0))


def agreement(first: Found, second: Found, period_deg: float) -> dict[str, float]:
    """How far two estimators' poses of the same particles lie apart, after the one motion between their averages.

    Args:
        first: of all particles.
        second: of those that it names.
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


def at_edge(own: OwnParticles, found: Found) -> float:
    """Share of the particles whose shift, turned back, lies within a pixel of the largest that is sought."""
    angle = np.deg2rad(-found.angle_deg)
    y, x = found.shift_px.T
    back = np.stack([np.sin(angle) * x + np.cos(angle) * y, np.cos(angle) * x - np.sin(angle) * y])
    return float(np.mean(np.abs(back).max(axis=0) > own.largest_shift_px - _EDGE_PX))


def _average(own: OwnParticles, poses: Poses, batch_size: int) -> Tensor:
    """Mean (n, n) of the aligned particles in the user's box."""
    total = torch.zeros(own.particles.box_px, own.particles.box_px, device=own.device)
    for indices in own.batches(batch_size):
        here = torch.from_numpy(indices)
        images = own.corrected(indices)
        angle_deg, shift_px = poses.angle_deg[here].to(images), poses.shift_px[here].to(images)
        total += align(images, angle_deg, shift_px).sum(dim=0)
    return total / len(own)


def _in_user_px(own: OwnParticles, poses: Poses) -> Poses:
    return Poses(poses.angle_deg, poses.shift_px * own.scale, poses.score)


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) for q in (5, 25, 50, 75, 95)}
