"""Which tiles answer for which, and the answers of an estimator for whole sessions."""

from collections.abc import Callable

import numpy as np
import torch

from workflow_scripts.background import classical
from workflow_scripts.background.counting import log_tiles
from workflow_scripts.background.network_estimator import NetworkEstimator
from workflow_scripts.background.tile_files import RawTiles

TILES = 2, 4, 16  # sizes of a set that are answered for
SIGMA_SHARE = 0.08  # of the pseudo-flat's blur, sides of a tile; between 0.04 and 0.2 it hardly matters in training
_EIGEN_SEED = 0


def nearest_in_order(tiles: int, size: int) -> np.ndarray:
    """For every tile itself and the nearest of its order, all where there are fewer: int (tiles, size)."""
    return np.stack([classical.nearest_in_order(tiles, index, min(size, tiles)) for index in range(tiles)])


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
        logs, dead = _logs(counts, tiles.dark)
        found.append(estimator.estimate_sets(logs[rows], ~dead[rows]))
    flats, spreads = (np.stack(parts) for parts in zip(*found, strict=True))
    return flats, spreads


def gaussian(tiles: RawTiles) -> dict[str, np.ndarray]:
    """The pseudo-flat of every tile: its own logarithm, blurred."""
    sigma_px = SIGMA_SHARE * max(tiles.counts.shape[-2:])
    found = [classical.gaussian_flats(_logs(counts, tiles.dark)[0], sigma_px) for counts in tiles.counts]
    return {"n1.log_flat": np.stack(found)}


def median(tiles: RawTiles, size: int) -> dict[str, np.ndarray]:
    """The median of every tile and its neighbours in order, `size` in all."""
    used = min(size, tiles.counts.shape[1])
    found = [classical.median_flats(_logs(counts, tiles.dark)[0], used) for counts in tiles.counts]
    return {f"n{size}.log_flat": np.stack(found)}


def maximum(tiles: RawTiles, size: int) -> dict[str, np.ndarray]:
    """The maximum of every tile and its neighbours in order, `size` in all."""
    found = [classical.maximum_flats(_logs(counts, tiles.dark)[0], size) for counts in tiles.counts]
    return {f"n{size}.log_flat": np.stack(found)}


def eigen_flats(tiles: RawTiles) -> dict[str, np.ndarray]:
    """Eigen flat fields of references of the same session, and of an earlier one."""
    found = {}
    for name, references in (("same", tiles.references), ("earlier", tiles.earlier_references)):
        flats = []
        for counts, bare in zip(tiles.counts, references, strict=True):
            rng = np.random.default_rng(_EIGEN_SEED)
            eigen = classical.EigenFlats.of_references(_logs(bare, tiles.dark)[0], rng)
            flats.append(eigen.log_flats(_logs(counts, tiles.dark)[0]))
        found[f"{name}.log_flat"] = np.stack(flats)
    return found


def _logs(counts: np.ndarray, dark: float) -> tuple[np.ndarray, np.ndarray]:
    logs, dead = log_tiles(torch.as_tensor(counts), dark)
    return logs.numpy(), dead.numpy()


CLASSICAL: dict[str, Callable[[RawTiles], dict[str, np.ndarray]]] = {
    "gaussian": gaussian,
    "maximum_2": lambda tiles: maximum(tiles, 2),
    "median_2": lambda tiles: median(tiles, 2),
    "median_4": lambda tiles: median(tiles, 4),
    "median_16": lambda tiles: median(tiles, 16),
    "eigen_flats": eigen_flats,
}
