"""How well estimators agree with themselves where neighbouring tiles overlap, beside the contrast that they leave."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from workflow_scripts.background.apply.data import OwnTiles
from workflow_scripts.background.apply.output import LEAVE_PAIR_OUT
from workflow_scripts.background.apply.overlaps import (
    Estimator,
    Overlap,
    contrast_retained,
    leave_pair_out_residual,
    overlap_residual,
    recovered_slopes,
)
from workflow_scripts.background.estimators.eigen_flats import EigenFlats
from workflow_scripts.background.estimators.gaussian import gaussian_flats
from workflow_scripts.background.estimators.median import flats_of_sets

DIAMETERS_PX = 4, 16, 64
MOST_ABSORBERS = 2  # overlaps with injected discs: a network corrects their tiles anew, round by round
_SEED = 0


def classical_estimators(own: OwnTiles) -> dict[str, Estimator]:
    """Estimators without a network that these tiles allow, from log tiles (N, H, W) to log flat fields."""
    estimators: dict[str, Estimator] = {"zeros": np.zeros_like, "gaussian": gaussian_flats}
    estimators |= {f"median_{size}": partial(flats_of_sets, size=size) for size in (2, 4, 16) if size <= len(own.logs)}
    estimators["maximum_2"] = partial(flats_of_sets, size=2, statistic="maximum")
    if len(own.reference_logs) > 1:
        eigen = EigenFlats.of_references(own.reference_logs, np.random.default_rng(_SEED))
        estimators["eigen_flats"] = eigen.log_flats
    return estimators


def chosen_overlaps(overlaps: Sequence[Overlap]) -> list[Overlap]:
    """The overlaps that agree best, for the injected absorbers."""
    return sorted(overlaps, key=lambda overlap: -overlap.correlation)[:MOST_ABSORBERS]


def judged(
    logs: np.ndarray, flats: np.ndarray, overlaps: Sequence[Overlap], again: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """Overlap residual, contrast and recovered density of injected absorbers of one estimator, as plain JSON.

    Args:
        logs, flats: log tiles and the estimator's log flat fields (N, H, W).
        overlaps: that are compared; without any, only the contrast is known.
        again: the estimator, for tiles with absorbers; it need correct only the tiles of `chosen_overlaps`.
    """
    known: dict[str, Any] = {"contrast": contrast_retained(logs - flats)}
    if not overlaps:
        return known | {"overlap_residual": None, "recovered_density": None}
    slopes = recovered_slopes(again, logs, chosen_overlaps(overlaps), fitting(logs.shape[1:]))
    known["overlap_residual"] = overlap_residual(logs - flats, overlaps)
    known["recovered_density"] = {f"{diameter}_px": slope for diameter, slope in slopes.items()}
    return known


def fitting(shape: tuple[int, int]) -> list[int]:
    """Diameters of absorbers whose square of twice the side fits into a tile."""
    return [diameter for diameter in DIAMETERS_PX if 2 * diameter < min(shape)]


def quality(
    own: OwnTiles, overlaps: Sequence[Overlap], networks: Mapping[str, tuple[np.ndarray, Estimator]]
) -> dict[str, Any]:
    """All estimators side by side, by name.

    Args:
        overlaps: that are compared.
        networks: log flat fields (N, H, W) by name, and the estimator for tiles with absorbers.
    """
    results = {
        name: judged(own.logs, estimator(own.logs), overlaps, estimator)
        for name, estimator in classical_estimators(own).items()
    }
    if overlaps and len(own.logs) > 2:
        results[LEAVE_PAIR_OUT] = {"overlap_residual": leave_pair_out_residual(own.logs, overlaps)}
    return results | {name: judged(own.logs, flats, overlaps, again) for name, (flats, again) in networks.items()}
