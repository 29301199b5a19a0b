"""The trained networks as estimators: similarity of patterns to a gallery's directions over the in-plane angle."""

import torch
from torch import Tensor

from workflow_scripts.learning.devices import Precision, autocast
from workflow_scripts.matching.encoding import turned
from workflow_scripts.matching.model import AngularNetwork, Matcher, correlations_of_spectra, spectra
from workflow_scripts.matching.tasks import normalised
from workflow_scripts.matching.template_matching import IN_PLANE

_BATCH = 512  # templates that go through a network at once


class AngularEstimator:
    """Features that are correlated over the angle: the gallery needs no turned copies."""

    def __init__(self, matcher: Matcher, gallery: Tensor, device: torch.device, precision: Precision) -> None:
        """Args: the networks; calculated patterns (G, n, n), on the device; where and how precisely it runs."""
        self._matcher, self._device, self._precision = matcher.to(device).eval(), device, precision
        self._angles = matcher.observed.angles
        self._gallery = spectra(torch.cat([self._features(matcher.calculated, part) for part in gallery.split(_BATCH)]))

    @torch.inference_mode()
    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        found = spectra(self._features(self._matcher.observed, counts))
        return correlations_of_spectra(found, self._gallery, self._angles)

    @torch.inference_mode()
    def _features(self, network: AngularNetwork, patterns: Tensor) -> Tensor:
        with autocast(self._device, self._precision):
            return network(network.encode(patterns)).float()


class EmbeddingEstimator:
    """The published network: the cosine to the embedding of every template at every in-plane angle."""

    def __init__(
        self, matcher: Matcher, gallery: Tensor, normalise: bool, device: torch.device, precision: Precision
    ) -> None:
        """Args as above; normalise: patterns are given mean 0 and variance 1 first."""
        self._matcher, self._normalise = matcher.to(device).eval(), normalise
        self._device, self._precision = device, precision
        steps = torch.arange(IN_PLANE, device=gallery.device) * (360.0 / IN_PLANE)
        found = [
            torch.cat([self._embed(matcher.calculated, turned(part, angle.expand(len(part)))) for angle in steps])
            .unflatten(0, (IN_PLANE, -1))
            .transpose(0, 1)
            for part in gallery.split(_BATCH)
        ]
        self._gallery = torch.cat(found)  # (G, A, E)

    @torch.inference_mode()
    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        found = self._embed(self._matcher.observed, counts)
        return (found @ self._gallery.flatten(0, 1).T).unflatten(1, self._gallery.shape[:2])

    @torch.inference_mode()
    def _embed(self, network: torch.nn.Module, patterns: Tensor) -> Tensor:
        with autocast(self._device, self._precision):
            return network(normalised(patterns) if self._normalise else patterns).float()
