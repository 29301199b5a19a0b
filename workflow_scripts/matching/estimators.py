"""Who answers a query, and the answers to all of them."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.learning.devices import Precision
from workflow_scripts.matching.model import Matcher, make_matcher
from workflow_scripts.matching.network_estimator import AngularEstimator, EmbeddingEstimator
from workflow_scripts.matching.orientations import random_rotations
from workflow_scripts.matching.pattern_files import Pairs, Queries
from workflow_scripts.matching.retrieval import Answers, Gallery, best_answers
from workflow_scripts.matching.settings import NetworkSettings
from workflow_scripts.matching.template_matching import CrossCorrelation, PolarTemplates, tuned, tuned_gamma
from workflow_scripts.matching.variants import VARIANTS, Variant
from workflow_scripts.workflow.progress import Progress


class Estimator(Protocol):
    """Says how similar patterns are to the directions of a gallery."""

    def curves(self, counts: Tensor) -> Tensor:
        """Patterns (B, n, n) to similarities (B, G, A) over the in-plane angle, A even."""


def of_weights(
    matcher: Matcher, variant: Variant, finetuned: bool, gallery: Tensor, device: torch.device, precision: Precision
) -> Estimator:
    """An arm's networks after one of its stages."""
    if not variant.not_equivariant:
        return AngularEstimator(matcher, gallery, device, precision)
    normalise = variant.normalised_in_pretraining_only and not finetuned
    return EmbeddingEstimator(matcher, gallery, normalise, device, precision)


def baseline(name: str, gallery: Tensor, pairs: Pairs, network: NetworkSettings, device: torch.device) -> Estimator:
    """A baseline that looks at the patterns.

    Args:
        name: ncc, polar_template or untrained.
        gallery: calculated patterns (G, n, n), on the device.
        pairs: training pairs, which choose the parameters of the template matchers.
        network: settings of the corrected arm's network, as it is before training.
        device: where it runs.
    """
    if name == "ncc":
        return CrossCorrelation.of(gallery, tuned_gamma(pairs, device))
    if name == "polar_template":
        return PolarTemplates.of(gallery, *tuned(pairs, device))
    return AngularEstimator(make_matcher(network, VARIANTS["corrected"], 0), gallery, device, "float32")


def answers(
    estimator: Estimator, queries: Queries, batch_size: int, candidates: int, device: torch.device
) -> dict[str, np.ndarray]:
    """The best orientations for every query: rotation float32 (Q, K, 3, 3), score (Q, K), gallery_index (Q, K)."""
    gallery = Gallery.of(queries.gallery_rotation, queries.symmetry, device)
    parts = []
    with Progress(len(queries), "queries") as progress:
        for counts in torch.from_numpy(queries.counts).split(batch_size):
            curves = estimator.curves(counts.to(device))
            parts.append(best_answers(curves, gallery, candidates))
            progress.advance(len(counts))
    return _gathered(parts)


def chance(queries: Queries, candidates: int, seed: int) -> dict[str, np.ndarray]:
    """Random orientations, in the form of `answers`."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(queries), candidates
    rotation = random_rotations(shape[0] * shape[1], generator).float().unflatten(0, shape)
    score = torch.rand(shape, generator=generator).sort(dim=1, descending=True).values
    index = torch.randint(len(queries.gallery), shape, generator=generator)
    return _gathered([Answers(rotation, score, index)])


def _gathered(parts: list[Answers]) -> dict[str, np.ndarray]:
    return {
        name: torch.cat([getattr(part, name) for part in parts]).cpu().numpy()
        for name in ("rotation", "score", "gallery_index")
    }
