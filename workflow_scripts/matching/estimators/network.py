"""The trained networks: similarity of patterns to a gallery's directions over the in-plane angle."""

import functools

import torch
from torch import Tensor

from workflow_scripts.learning.precision import MixedPrecision, Precision
from workflow_scripts.matching.networks.encoding import at_in_plane_angles, normalised
from workflow_scripts.matching.networks.model import Encoder, Matcher, correlations_of_spectra, load_matcher, spectra
from workflow_scripts.matching.networks.retrieval import Estimator, Predictions, predict_queries
from workflow_scripts.matching.settings import ARMS, Variant
from workflow_scripts.matching.simulation.pattern_files import Queries
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError

_BATCH = 512  # templates that go through a network at once


def predict(job: Job, queries: Queries, device: torch.device) -> dict[str, Predictions]:
    """The predictions for all queries under the keys `pretrained` and `finetuned`.

    Raises:
        InputError: weights are missing, or the estimator is not one of the study's arms.
    """
    job.require("pretrained", "finetuned")
    arguments = job.arguments
    if arguments.estimator not in ARMS:
        raise InputError(f"--estimator is {arguments.estimator!r}, but a network must be one of {', '.join(ARMS)}")
    gallery = torch.from_numpy(queries.gallery).to(device)
    predictions = {}
    for stage in ("pretrained", "finetuned"):
        matcher, variant = load_matcher(job.input(stage)), ARMS[arguments.estimator]
        estimator = trained_estimator(matcher, variant, stage == "finetuned", gallery, device, arguments.precision)
        predictions[stage] = predict_queries(estimator, queries, arguments, device)
    return predictions


def trained_estimator(
    matcher: Matcher, variant: Variant, finetuned: bool, gallery: Tensor, device: torch.device, precision: Precision
) -> Estimator:
    """The networks of an arm as an estimator.

    Args:
        matcher: the networks, with their weights.
        variant: the arm's faults.
        finetuned: whether the weights are those of the stage finetune.
        gallery: calculated patterns (G, n, n), on the device.
        device: where the networks run.
        precision: number format inside the networks.
    """
    if not variant.not_equivariant:
        return AngularEstimator(matcher, gallery, device, precision)
    normalise = variant.normalised_in_pretraining_only and not finetuned
    return EmbeddingEstimator(matcher, gallery, device, precision, normalise)


class _NetworkEstimator:
    def __init__(self, matcher: Matcher, device: torch.device, precision: Precision, normalise: bool = False) -> None:
        self._matcher, self._normalise = matcher.to(device).eval(), normalise
        self._device, self._precision = device, precision

    @torch.inference_mode()
    def _features(self, network: Encoder, patterns: Tensor) -> Tensor:
        encoded = network.encode(normalised(patterns) if self._normalise else patterns)
        return MixedPrecision(network, self._device, self._precision)(encoded)


class AngularEstimator(_NetworkEstimator):
    """Features that are correlated over the angle: the gallery needs no turned copies."""

    def __init__(self, matcher: Matcher, gallery: Tensor, device: torch.device, precision: Precision) -> None:
        """Args: the networks; calculated patterns (G, n, n), on the device; device and precision of the networks."""
        super().__init__(matcher, device, precision)
        self._angles = matcher.observed.angles
        self._gallery = spectra(torch.cat([self._features(matcher.calculated, part) for part in gallery.split(_BATCH)]))

    @torch.inference_mode()
    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        features = self._features(self._matcher.observed, counts)
        return correlations_of_spectra(spectra(features), self._gallery, self._angles)


class EmbeddingEstimator(_NetworkEstimator):
    """The published network: the cosine to the embedding of every template at every in-plane angle."""

    def __init__(
        self, matcher: Matcher, gallery: Tensor, device: torch.device, precision: Precision, normalise: bool
    ) -> None:
        """Args as above; normalise: patterns are given mean 0 and variance 1 first."""
        super().__init__(matcher, device, precision, normalise)
        embed = functools.partial(self._features, matcher.calculated)
        self._gallery = torch.cat([at_in_plane_angles(part, embed) for part in gallery.split(_BATCH)])  # (G, A, E)

    @torch.inference_mode()
    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        similarity = self._features(self._matcher.observed, counts) @ self._gallery.flatten(0, 1).T
        return similarity.unflatten(1, self._gallery.shape[:2])
