"""From similarities to the best orientations of a pattern.

An estimator computes the similarity of a pattern to every direction of the gallery at every in-plane angle: curves
(Q, G, A) over the angle. What follows is the same for all estimators: interpolation of the in-plane angle between the
samples, and a choice of candidates that differ from each other.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.settings import SharedPredict
from workflow_scripts.matching.simulation.orientations import rotation_about_z
from workflow_scripts.matching.simulation.pattern_files import Queries
from workflow_scripts.workflow.progress import Progress

APART_DEG = 3.0  # candidates for a pattern are farther apart than this, symmetry included
_POOL = 12  # peaks considered for every candidate


class Estimator(Protocol):
    """Compares patterns with the directions of a gallery."""

    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every direction over the in-plane angle: (B, G, A), A even."""


@dataclass(frozen=True)
class Gallery:
    """Beam directions of calculated patterns.

    rotation: float32 (G, 3, 3), orientations at in-plane angle 0.
    symmetry: float32 (S, 3, 3), proper rotations of the Laue group.
    """

    rotation: Tensor
    symmetry: Tensor

    @classmethod
    def of(cls, rotation: np.ndarray, symmetry: np.ndarray, device: torch.device) -> "Gallery":
        """From orientations (G, 3, 3) and the Laue group's proper rotations (S, 3, 3)."""
        return cls(*(torch.from_numpy(part).float().to(device) for part in (rotation, symmetry)))


@dataclass(frozen=True)
class Predictions:
    """Best first: rotation float32 (Q, K, 3, 3), score float32 (Q, K), and index into the gallery int64 (Q, K)."""

    rotation: Tensor
    score: Tensor
    gallery_index: Tensor

    def first(self, candidates: int) -> "Predictions":
        """The best of them."""
        return Predictions(*(tensor[:, :candidates] for tensor in (self.rotation, self.score, self.gallery_index)))


@dataclass(frozen=True)
class SomePredictions(Predictions):
    """Predictions for a part of the queries: their rows in the test file, int64 (Q,)."""

    query: Tensor


def predict_queries(
    estimator: Estimator, queries: Queries, settings: SharedPredict, device: torch.device
) -> Predictions:
    """The best orientations for every query, on the CPU."""
    gallery = Gallery.of(queries.gallery_rotation, queries.symmetry, device)
    with Progress(len(queries), "queries") as progress:

        def batches() -> Iterable[Tensor]:
            for counts in torch.from_numpy(queries.counts).split(settings.batch_size):
                yield counts
                progress.advance(len(counts))

        return predict_batches(batches(), estimator, gallery, settings.candidates)


def predict_batches(batches: Iterable[Tensor], estimator: Estimator, gallery: Gallery, candidates: int) -> Predictions:
    """The best orientations, on the CPU, of patterns that come in batches (B, n, n)."""
    device = gallery.rotation.device
    best = (best_orientations(estimator.curves(batch.to(device)), gallery, candidates) for batch in batches)
    on_cpu = [[tensor.cpu() for tensor in vars(predictions).values()] for predictions in best]
    return Predictions(*(torch.cat(tensors) for tensors in zip(*on_cpu, strict=True)))


def best_orientations(curves: Tensor, gallery: Gallery, candidates: int) -> Predictions:
    """The best orientations that differ by more than 3° from each other.

    A direction may occur twice, once in each half turn: a pattern and its half turn are alike but for the curvature of
    the Ewald sphere.

    Args:
        curves: (Q, G, A) similarities to direction g rotated in the plane by a · 360°/A; A even.
        gallery: its directions.
        candidates: K; where fewer differ, further ones follow in the order of their scores.
    """
    angles = curves.shape[-1]
    halves = curves.unflatten(-1, (2, angles // 2))
    height, place = halves.max(dim=-1)  # (Q, G, 2)
    _, peak = height.flatten(1).topk(min(candidates * _POOL, 2 * len(gallery.rotation)), dim=1)  # (Q, M)
    index = peak // 2
    sample = place.flatten(1).gather(1, peak) + (peak % 2) * (angles // 2)
    score, offset = _parabola(_around(curves, index, sample))
    order = score.argsort(dim=1, descending=True, stable=True)
    score, index = score.gather(1, order), index.gather(1, order)
    angle = ((sample + offset) * (2 * math.pi / angles)).gather(1, order)
    rotation = rotation_about_z(angle) @ gallery.rotation[index]
    return distinct(Predictions(rotation, score, index), gallery.symmetry, candidates)


def _around(curves: Tensor, index: Tensor, sample: Tensor) -> Tensor:
    """Curves (Q, G, A) of the directions (Q, M) at the samples (Q, M) and those beside them: (Q, M, 3)."""
    steps = torch.arange(-1, 2, device=curves.device)
    place = (sample[..., None] + steps) % curves.shape[-1]
    flat = (index[..., None] * curves.shape[-1] + place).flatten(1)
    return curves.flatten(1).gather(1, flat).view(place.shape)


def _parabola(three: Tensor) -> tuple[Tensor, Tensor]:
    """Height and offset, within ±1/2, of the vertex through three samples (…, 3)."""
    below, top, above = three.unbind(-1)
    bend = (2 * top - below - above).clamp_min(1e-12)
    offset = ((above - below) / (2 * bend)).clamp(-0.5, 0.5)
    return top + (above - below) * offset / 4, offset


def distinct(found: Predictions, symmetry: Tensor, candidates: int) -> Predictions:
    """The best predictions that differ by more than `APART_DEG`; where fewer differ, further ones follow."""
    rotation, score, index = found.rotation, found.score, found.gallery_index
    selected = _distinct(rotation, symmetry, min(candidates, index.shape[1]))
    rotation = rotation.gather(1, selected[..., None, None].expand(-1, -1, 3, 3))
    return Predictions(rotation, score.gather(1, selected), index.gather(1, selected))


def _distinct(rotation: Tensor, symmetry: Tensor, count: int) -> Tensor:
    """Indices (Q, count) of the orientations (Q, M, 3, 3), best first, that differ by more than `APART_DEG`."""
    rows = torch.arange(len(rotation), device=rotation.device)
    # The larger the better; negative where a better orientation is near, −∞ where the orientation is already selected
    rank = torch.arange(rotation.shape[1], 0, -1, device=rotation.device).repeat(len(rotation), 1).float()
    trace_apart = 1 + 2 * math.cos(math.radians(APART_DEG))
    flat = rotation.flatten(2)
    selected = []
    for _ in range(count):
        best = rank.argmax(dim=1)
        selected.append(best)
        equivalent = (rotation[rows, best][:, None] @ symmetry).flatten(2)  # (Q, S, 9)
        near = (flat @ equivalent.mT).amax(dim=2) > trace_apart
        rank = torch.where(near & (rank > 0), rank - 2 * rotation.shape[1], rank)
        rank[rows, best] = -math.inf
    return torch.stack(selected, dim=1)
