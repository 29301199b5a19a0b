"""Polar template matching: polar patterns correlated along the angle, the standard method of orientation mapping.

Rauch and Véron, doi:10.1002/mawe.200500923; by fast Fourier transforms Ophus et al., doi:10.1017/S1431927622000101.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.matching.networks.encoding import polar_patterns, stabilised
from workflow_scripts.matching.networks.model import correlations_of_spectra, spectra
from workflow_scripts.matching.networks.retrieval import Predictions, predict_queries
from workflow_scripts.matching.networks.tuning import GAMMAS, tuned
from workflow_scripts.matching.simulation.pairs import Pairs, read_pairs
from workflow_scripts.matching.simulation.pattern_files import Queries
from workflow_scripts.workflow.command import Job

RINGS, ANGLES = 32, 120
_POWERS = 0.0, 0.5, 1.0


@dataclass(frozen=True)
class PolarTemplates:
    """Correlation of polar patterns over the in-plane angle.

    Attributes:
        gamma: power to which counts are raised.
        power: of the radius by which rings are weighted.
        gallery: `spectra` of the gallery.
    """

    gamma: float
    power: float
    gallery: Tensor

    @classmethod
    def of(cls, gallery: Tensor, gamma: float, power: float) -> "PolarTemplates":
        """From calculated patterns (G, n, n)."""
        return cls(gamma, power, spectra(_features(gallery, gamma, power)))

    @classmethod
    def tuned(cls, gallery: Tensor, pairs: Pairs, device: torch.device) -> "PolarTemplates":
        """From calculated patterns (G, n, n), with the powers that are best for the training pairs."""
        return cls.of(gallery, *tuned(cls.of, itertools.product(GAMMAS, _POWERS), pairs, device))

    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        return correlations_of_spectra(spectra(_features(counts, self.gamma, self.power)), self.gallery, ANGLES)


def predict(job: Job, queries: Queries, device: torch.device) -> dict[str, Predictions]:
    """The predictions under the key `fitted`; raises InputError where the training pairs are missing."""
    job.require("shards")
    gallery = torch.from_numpy(queries.gallery).to(device)
    estimator = PolarTemplates.tuned(gallery, read_pairs(job.inputs["shards"]).to(device), device)
    return {"fitted": predict_queries(estimator, queries, job.arguments, device)}


def _features(patterns: Tensor, gamma: float, power: float) -> Tensor:
    """(N, n, n) → (N, R, A) of norm 1, without the mean of every ring."""
    polar = stabilised(polar_patterns(patterns, RINGS, ANGLES), gamma)
    radius = torch.arange(1, RINGS + 1, device=patterns.device)[:, None]
    weighted = (polar - polar.mean(dim=-1, keepdim=True)) * radius**power
    return weighted / weighted.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
