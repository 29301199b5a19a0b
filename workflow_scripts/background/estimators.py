"""Which tiles answer for which, and the answers of an estimator for whole sessions."""

from collections.abc import Callable

import numpy as np
import torch

from workflow_scripts.background.counting import log_tiles
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
    rows = neighbours if chosen is None else neighbours[chosen]
    found = []
    for counts in tiles.counts:
        logs, dead = (part.numpy() for part in log_tiles(torch.as_tensor(counts), tiles.dark))
        found.append(estimator.estimate_sets(logs[rows], ~dead[rows]))
    flats, spreads = (np.stack(parts) for parts in zip(*found, strict=True))
    return flats, spreads


CLASSICAL: dict[str, Callable[[RawTiles], dict[str, np.ndarray]]] = {}
