"""Correction of the user's tiles: flat field and uncertainty of every tile, optical density and its zero."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.background.apply.data import UserTiles
from workflow_scripts.background.apply.mosaic import groups, overlapping, tile_constants
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.estimators.network import NetworkEstimator
from workflow_scripts.background.simulation.sessions import nearest_in_order

ABSOLUTE, UP_TO_CONSTANT = "optical_density", "optical_density_up_to_constant"


@dataclass(frozen=True)
class Corrected:
    """Corrected tiles.

    Attributes:
        density: optical density float32 (N, H, W), NaN at dead pixels.
        quantity: `optical_density`, or `optical_density_up_to_constant` for each tile.
        scale_from: how the zero of each tile was determined: `region` (its open-beam region), `overlaps` (chain of
            overlaps with the tile that has the region) or `brightness` (assuming the same incident beam in all tiles).
    """

    density: np.ndarray
    quantity: str
    scale_from: tuple[str, ...]


def flats_of(
    estimator: NetworkEstimator, logs: np.ndarray, valid: np.ndarray, neighbours: int, chosen: list[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Log flat fields and spreads (N, H, W) of tiles, each estimated from the set of its neighbours in order.

    chosen: numbers of the tiles to estimate; None for all. The other tiles are zero.
    """
    flats, spreads = np.zeros_like(logs), np.zeros_like(logs)
    sets = nearest_in_order(len(logs), neighbours)
    # One by one, so that the samples of a tile do not depend on earlier tiles
    for index in range(len(logs)) if chosen is None else chosen:
        tiles = sets[[index]]
        flats[[index]], spreads[[index]] = estimator.estimate_sets(logs[tiles], valid[tiles])
    return flats, spreads


def corrected(settings: Apply, tiles: UserTiles, log_flats: np.ndarray, positions_px: np.ndarray | None) -> Corrected:
    """Optical density from log flat fields: absolute with an open-beam region, otherwise up to a constant per tile.

    Args:
        log_flats: (N, H, W).
        positions_px: of the tiles (N, 2) [y, x]; None where unknown.
    """
    # Assume the same incident beam in all tiles, unless overlaps or an open-beam region determine the zero
    levels = (tiles.levels - tiles.levels.mean()).astype(np.float32)
    density = np.where(tiles.valid, log_flats - tiles.logs - levels[:, None, None], np.nan).astype(np.float32)
    count = len(density)
    if settings.open_beam_px is None:
        return Corrected(density, UP_TO_CONSTANT, count * ("brightness",))
    named = tiles.names.index(settings.open_beam_tile)
    top, left, bottom, right = settings.open_beam_px
    zero = float(np.nanmean(density[named, top:bottom, left:right]))
    constants = np.full(count, -zero)
    sources = count * ["brightness"]
    if positions_px is not None:
        agreed = tile_constants(density, positions_px)
        group = groups(count, overlapping(positions_px, density.shape[1:]))
        for index in np.flatnonzero(group == group[named]):
            constants[index], sources[index] = agreed[index] - agreed[named] - zero, "overlaps"
    sources[named] = "region"
    scaled = density + constants[:, None, None].astype(np.float32)
    return Corrected(scaled, ABSOLUTE, tuple(sources))
