"""How well corrected tiles agree where neighbours overlap, and the contrast that the correction leaves."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from workflow_scripts.background.apply.data import UserTiles
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


def classical_estimators(tiles: UserTiles) -> dict[str, Estimator]:
    """Estimators without a network that these tiles allow, from log tiles (N, H, W) to log flat fields."""
    estimators: dict[str, Estimator] = {"zeros": np.zeros_like, "gaussian": gaussian_flats}
    sizes = [size for size in (2, 4, 16) if size <= len(tiles.logs)]
    estimators |= {f"median_{size}": partial(flats_of_sets, size=size) for size in sizes}
    estimators["maximum_2"] = partial(flats_of_sets, size=2, statistic="maximum")
    if len(tiles.reference_logs) > 1:
        eigen = EigenFlats.of_references(tiles.reference_logs, np.random.default_rng(_SEED))
        estimators["eigen_flats"] = eigen.log_flats
    return estimators


def chosen_overlaps(overlaps: Sequence[Overlap]) -> list[Overlap]:
    """The overlaps that agree best, for the injected absorbers."""
    return sorted(overlaps, key=lambda overlap: -overlap.correlation)[:MOST_ABSORBERS]


def measured(
    logs: np.ndarray, flats: np.ndarray, with_absorbers: Estimator, overlaps: Sequence[Overlap]
) -> dict[str, Any]:
    """Overlap residual, contrast and recovered density of injected absorbers of one estimator, as plain JSON.

    Args:
        logs, flats: log tiles and the estimator's log flat fields (N, H, W).
        with_absorbers: the estimator, for tiles with absorbers; it has to correct only the tiles of `chosen_overlaps`.
        overlaps: that are compared; without any, only the contrast is known.
    """
    results: dict[str, Any] = {"contrast": contrast_retained(logs - flats)}
    if not overlaps:
        return results | {"overlap_residual": None, "recovered_density": None}
    # A square of twice the diameter must fit into a tile
    diameters = [diameter for diameter in DIAMETERS_PX if 2 * diameter < min(logs.shape[1:])]
    slopes = recovered_slopes(with_absorbers, logs, chosen_overlaps(overlaps), diameters)
    results["overlap_residual"] = overlap_residual(logs - flats, overlaps)
    results["recovered_density"] = {f"{diameter}_px": slope for diameter, slope in slopes.items()}
    return results


def quality(
    tiles: UserTiles, overlaps: Sequence[Overlap], networks: Mapping[str, tuple[np.ndarray, Estimator]]
) -> dict[str, Any]:
    """All estimators side by side, by name.

    Args:
        overlaps: that are compared.
        networks: log flat fields (N, H, W) by name, and the estimator for tiles with absorbers.
    """
    estimates = {name: (estimator(tiles.logs), estimator) for name, estimator in classical_estimators(tiles).items()}
    results = {name: measured(tiles.logs, *pair, overlaps) for name, pair in estimates.items()}
    if overlaps and len(tiles.logs) > 2:
        results[LEAVE_PAIR_OUT] = {"overlap_residual": leave_pair_out_residual(tiles.logs, overlaps)}
    return results | {name: measured(tiles.logs, *pair, overlaps) for name, pair in networks.items()}
