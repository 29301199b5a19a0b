"""Which tiles answer for which, and the answers of an estimator for whole sessions."""

import numpy as np

from workflow_scripts.background.network_estimator import NetworkEstimator
from workflow_scripts.background.tile_files import RawTiles

TILES = 2, 4, 16  # sizes of a set that are answered for


def nearest_in_order(tiles: int, size: int) -> np.ndarray:
    """For every tile itself and the nearest of its order, the earlier of two that are as near: int (tiles, size)."""
    place = np.arange(tiles)
    distance = 2 * np.abs(place[:, None] - place) + (place > place[:, None])
    return np.argsort(distance, axis=1, kind="stable")[:, :size]


def any_partner(tiles: int, seed: int) -> np.ndarray:
    """For every tile itself and any other, as from an unsorted listing: int (tiles, 2)."""
    place = np.arange(tiles)
    return np.stack([place, (place + np.random.default_rng(seed).integers(1, tiles, tiles)) % tiles], axis=1)


def log_tiles(counts: np.ndarray, dark: float) -> tuple[np.ndarray, np.ndarray]:
    """ln of counts less the dark frame, float32, and where there was light; at least half a photon is taken there."""
    light = counts - np.float32(dark)
    return np.log(np.maximum(light, 0.5)).astype(np.float32), light > 0


def answers(
    estimator: NetworkEstimator, tiles: RawTiles, neighbours: np.ndarray, chosen: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Log flat fields and spreads float32 (K, M, H, W) of the tiles of every session.

    Args:
        estimator: who is asked.
        tiles: K sessions of tiles, of which nothing but counts and dark frame counts.
        neighbours: the set of every tile, itself first (tiles of a session, N).
        chosen: the M tiles that are answered for; None for all.
    """
    logs, alive = log_tiles(tiles.counts, tiles.dark)
    rows = neighbours if chosen is None else neighbours[chosen]
    found = [estimator.estimate_sets(logs[session][rows], alive[session][rows]) for session in range(len(logs))]
    flats, spreads = (np.stack(parts) for parts in zip(*found, strict=True))
    return flats, spreads
