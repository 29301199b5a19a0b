"""Normalised cross-correlation with calculated patterns that are rotated to every in-plane angle."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from workflow_scripts.matching.networks.encoding import at_in_plane_angles, blurred
from workflow_scripts.matching.networks.retrieval import Predictions, predict_queries
from workflow_scripts.matching.networks.tuning import GAMMAS, tuned
from workflow_scripts.matching.simulation.pairs import Pairs, read_pairs
from workflow_scripts.matching.simulation.pattern_files import Queries
from workflow_scripts.workflow.command import Job

_BINNED_PX = 32  # side of the patterns that are cross-correlated
_TEMPLATES = 100  # with which the power is chosen
_BLUR_PX = 1.0  # standard deviation of the Gaussian before binning


@dataclass(frozen=True)
class CrossCorrelation:
    """Normalised cross-correlation with every template at every in-plane angle, at zero offset.

    Patterns are blurred and binned, since at low dose a spot is a few electrons spread over several pixels.

    Attributes:
        gamma: power to which counts are raised.
        templates: (G, A, m²), mean 0 and norm 1.
    """

    gamma: float
    templates: Tensor

    @classmethod
    def of(cls, gallery: Tensor, gamma: float) -> "CrossCorrelation":
        """From calculated patterns (G, n, n)."""
        return cls(gamma, at_in_plane_angles(gallery, lambda patterns: _normalised(patterns, gamma)))

    @classmethod
    def tuned(cls, gallery: Tensor, pairs: Pairs, device: torch.device) -> "CrossCorrelation":
        """From calculated patterns (G, n, n), with the power that is best for the training pairs."""
        return cls.of(gallery, *tuned(cls.of, [(gamma,) for gamma in GAMMAS], pairs, device, _TEMPLATES))

    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        similarity = _normalised(counts, self.gamma) @ self.templates.flatten(0, 1).T
        return similarity.unflatten(1, self.templates.shape[:2])


def predict(job: Job, queries: Queries, device: torch.device) -> dict[str, Predictions]:
    """The predictions under the key `fitted`; raises InputError where the training pairs are missing."""
    job.require("shards")
    gallery = torch.from_numpy(queries.gallery).to(device)
    estimator = CrossCorrelation.tuned(gallery, read_pairs(job.inputs["shards"]).to(device), device)
    return {"fitted": predict_queries(estimator, queries, job.arguments, device)}


def _normalised(patterns: Tensor, gamma: float) -> Tensor:
    """(N, n, n) → blurred, binned, raised to the power gamma, mean 0, norm 1: (N, m²)."""
    binned = functional.adaptive_avg_pool2d(blurred(patterns, _BLUR_PX)[:, None], min(_BINNED_PX, patterns.shape[-1]))
    raised = binned.flatten(1).clamp_min(0) ** gamma
    centred = raised - raised.mean(dim=1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-12)
