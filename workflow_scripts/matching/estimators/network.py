"""The trained networks: similarity of patterns to a gallery's directions over the in-plane angle."""

import functools

import torch
from torch import Tensor

from workflow_scripts.learning.precision import MixedPrecision, Precision
from workflow_scripts.matching.networks.encoding import at_in_plane_angles, normalised
from workflow_scripts.matching.networks.model import (
    AngularNetwork,
    Encoder,
    Matcher,
    correlations_of_spectra,
    load_matcher,
    spectra,
)
from workflow_scripts.matching.networks.retrieval import Predictions, predict_queries
from workflow_scripts.matching.settings import ARMS
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
    normalised_first = ARMS[arguments.estimator].normalised_in_pretraining_only
    predictions = {}
    for stage in ("pretrained", "finetuned"):
        normalise = normalised_first and stage == "pretrained"
        matcher = load_matcher(job.input(stage))
        estimator = NetworkEstimator(matcher, gallery, device, arguments.precision, normalise)
        predictions[stage] = predict_queries(estimator, queries, arguments, device)
    return predictions


class NetworkEstimator:
    """Two encoders as an estimator.

    Features along the angle are correlated, so that the gallery needs no rotated copies. An embedding is compared by
    the cosine with that of every calculated pattern at every in-plane angle.

    Args:
        matcher: the networks, with their weights.
        gallery: calculated patterns (G, n, n), on the device.
        device: where the networks run.
        precision: number format inside the networks.
        normalise: whether patterns are given mean 0 and variance 1 first.
    """

    def __init__(
        self, matcher: Matcher, gallery: Tensor, device: torch.device, precision: Precision, normalise: bool = False
    ) -> None:
        self._matcher, self._normalise = matcher.to(device).eval(), normalise
        self._device, self._precision = device, precision
        self._is_angular = isinstance(matcher.calculated, AngularNetwork)
        describe = functools.partial(self._features, matcher.calculated)
        parts = gallery.split(_BATCH)
        if self._is_angular:
            self._gallery = spectra(torch.cat([describe(part) for part in parts]))
        else:
            self._gallery = torch.cat([at_in_plane_angles(part, describe) for part in parts])  # (G, A, E)

    @torch.inference_mode()
    def _features(self, network: Encoder, patterns: Tensor) -> Tensor:
        encoded = network.encode(normalised(patterns) if self._normalise else patterns)
        return MixedPrecision(network, self._device, self._precision)(encoded)

    @torch.inference_mode()
    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        features = self._features(self._matcher.observed, counts)
        if self._is_angular:
            return correlations_of_spectra(spectra(features), self._gallery, features.shape[-1])
        return (features @ self._gallery.flatten(0, 1).T).unflatten(1, self._gallery.shape[:2])
