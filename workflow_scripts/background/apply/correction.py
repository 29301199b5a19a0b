"""The user's tiles corrected: flat field and uncertainty of every tile, optical density and its scale."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.background.apply.data import OwnTiles
from workflow_scripts.background.apply.mosaic import tile_constants
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.estimators.network import NetworkEstimator
from workflow_scripts.background.simulation.sessions import nearest_in_order

ABSOLUTE, UP_TO_CONSTANT = "optical_density", "optical_density_up_to_constant"


@dataclass(frozen=True)
class Corrected:
    """Corrected tiles.

    Attributes:
        density: optical density float32 (N, H, W), NaN where there was no light.
        log_flats, spreads: log flat fields, mean 0 each, and the standard deviation of their samples (N, H, W).
        quantity: `optical_density`, or `optical_density_up_to_constant` of every tile.
        scale_from: by tile, what its zero comes from: `region` (open beam), `overlaps` (with tiles that have it),
            or `brightness` (the beam is taken to be equally bright in all tiles).
    """

    density: np.ndarray
    log_flats: np.ndarray
    spreads: np.ndarray
    quantity: str
    scale_from: tuple[str, ...]


def flats_of(
    estimator: NetworkEstimator, logs: np.ndarray, valid: np.ndarray, neighbours: int, chosen: list[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Log flat fields and spreads (N, H, W) of tiles from the nearest in their order; zeros of those not chosen."""
    flats, spreads = np.zeros_like(logs), np.zeros_like(logs)
    sets = nearest_in_order(len(logs), neighbours)
    for index in range(len(logs)) if chosen is None else chosen:
        near = sets[index]
        flats[index], spreads[index] = estimator.estimate(logs[near], valid[near])
    return flats, spreads


def corrected(
    settings: Apply, own: OwnTiles, flats: np.ndarray, spreads: np.ndarray, positions_px: np.ndarray | None
) -> Corrected:
    """Optical density of tiles whose log flat fields are known: absolute with an open-beam region, else not.

    Args:
        flats, spreads: (N, H, W).
        positions_px: of the tiles (N, 2) [y, x]; None where unknown.
    """
    # Tiles are taken to have had an equally bright beam, where nothing better is known
    levels = (own.levels - own.levels.mean()).astype(np.float32)
    density = np.where(own.valid, flats - own.logs - levels[:, None, None], np.nan).astype(np.float32)
    count = len(density)
    if settings.open_beam_px is None:
        return Corrected(density, flats, spreads, UP_TO_CONSTANT, count * ("brightness",))
    named = own.names.index(settings.open_beam_tile)
    top, left, bottom, right = settings.open_beam_px
    zero = float(np.nanmean(density[named, top:bottom, left:right]))
    constants = np.full(count, -zero)
    sources = count * ["brightness"]
    if positions_px is not None:
        agreed = tile_constants(density, positions_px)
        for index in joined(positions_px, density.shape[1:], named):
            constants[index], sources[index] = agreed[index] - agreed[named] - zero, "overlaps"
    sources[named] = "region"
    scaled = density + constants[:, None, None].astype(np.float32)
    return Corrected(scaled, flats, spreads, ABSOLUTE, tuple(sources))


def joined(positions_px: np.ndarray, shape: tuple[int, int], first: int) -> list[int]:
    """Numbers of the tiles that a chain of overlaps joins to one, itself among them."""
    corners = np.rint(positions_px).astype(int)
    reached, border = {first}, [first]
    while border:
        here = border.pop()
        touching = (np.abs(corners - corners[here]) < np.array(shape)).all(axis=1)
        fresh = set(np.flatnonzero(touching).tolist()) - reached
        reached |= fresh
        border += sorted(fresh)
    return sorted(reached)
