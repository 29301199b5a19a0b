"""Mosaic of the corrected tiles: positions, additive constants of the tiles, blending."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.sparse.csgraph import connected_components

from workflow_scripts.background.apply.overlaps import Overlap
from workflow_scripts.workflow.errors import InputError

_LAYOUT_WEIGHT = 1e-3  # relative to a registered shift, so that the layout matters only where no overlap is registered
_MOST_PIXELS = 4 * 10**9


def settled(positions_px: np.ndarray, overlaps: Sequence[Overlap]) -> np.ndarray:
    """Positions (N, 2) [y, x] by a least-squares fit to all registered shifts.

    Tiles and groups of tiles without a registered overlap between them stay close to the given positions.
    """
    rows = _differences(len(positions_px), overlaps)
    shifts = np.array([overlap.shift_px for overlap in overlaps], dtype=np.float64).reshape(-1, 2)
    # A weak equation for the given position of each tile.
    matrix = np.vstack([rows, _LAYOUT_WEIGHT * np.eye(len(positions_px))])
    return np.linalg.lstsq(matrix, np.vstack([shifts, _LAYOUT_WEIGHT * positions_px]), rcond=None)[0]


def _differences(count: int, overlaps: Sequence[Overlap]) -> np.ndarray:
    """Matrix (K, count) from values of the tiles to their differences in K overlaps, second less first."""
    rows = np.zeros((len(overlaps), count))
    for row, overlap in zip(rows, overlaps, strict=True):
        row[overlap.second], row[overlap.first] = 1, -1
    return rows


def overlapping(positions_px: np.ndarray, shape: tuple[int, int]) -> list[Overlap]:
    """All pairs of tiles (H, W) that overlap at positions (N, 2) [y, x], rounded to whole pixels."""
    corners = np.rint(positions_px).astype(int)
    pairs = ((i, j, corners[j] - corners[i]) for i, j in combinations(range(len(corners)), 2))
    return [Overlap(i, j, tuple(shift.tolist()), 1.0) for i, j, shift in pairs if (np.abs(shift) < shape).all()]


def groups(count: int, overlaps: Sequence[Overlap]) -> np.ndarray:
    """Group number (count,) of each tile; the tiles of a group are connected by chains of overlaps."""
    rows = _differences(count, overlaps)
    return connected_components(rows.T @ rows, directed=False)[1]


def tile_constants(tiles: np.ndarray, positions_px: np.ndarray) -> np.ndarray:
    """Constants (N,) to add to tiles (N, H, W) so that they agree best where they overlap; their mean is 0.

    Least squares of the mean differences in all overlaps, weighted by their number of pixels without NaN. In each group
    of connected tiles the mean is 0.
    """
    overlaps, weights, targets = [], [], []
    for overlap in overlapping(positions_px, tiles.shape[1:]):
        first, second = overlap.slices(tiles.shape[1:])
        difference = tiles[overlap.first][first].astype(np.float64) - tiles[overlap.second][second]
        known = np.isfinite(difference)
        if known.any():
            overlaps.append(overlap)
            weights.append(np.sqrt(known.sum()))
            targets.append(weights[-1] * difference[known].mean())
    if not overlaps:
        return np.zeros(len(tiles))
    # The minimum-norm solution has a mean of 0 in every group.
    matrix = np.array(weights)[:, None] * _differences(len(tiles), overlaps)
    return np.linalg.lstsq(matrix, np.array(targets), rcond=None)[0]


def blended(tiles: np.ndarray, positions_px: np.ndarray, level: bool = True) -> np.ndarray:
    """One image (h, w) float32 of tiles (N, H, W) at positions (N, 2) [y, x]; NaN where there is no tile.

    The weight of a tile falls linearly from its middle to its edges, and is 0 where it is NaN; positions are rounded to
    whole pixels.

    Args:
        level: whether `tile_constants` are added first.

    Raises:
        InputError: the image would have more than 4·10⁹ pixels.
    """
    height, width = tiles.shape[1:]
    corners = np.rint(positions_px).astype(int)
    corners = corners - corners.min(axis=0)
    size = corners.max(axis=0) + np.array([height, width])
    if int(size[0]) * int(size[1]) > _MOST_PIXELS:
        raise InputError(f"a mosaic of {size[0]} × {size[1]} pixels is too large; check the positions in the layout")
    constants = tile_constants(tiles, positions_px) if level else np.zeros(len(tiles))
    reach = min(height, width) / 2
    ramps = [np.minimum(np.minimum(np.arange(n) + 1, n - np.arange(n)) / reach, 1.0) for n in (height, width)]
    window = ramps[0][:, None] * ramps[1]
    total, weight = np.zeros(size), np.zeros(size)
    for tile, corner, constant in zip(tiles, corners, constants, strict=True):
        place = (slice(corner[0], corner[0] + height), slice(corner[1], corner[1] + width))
        known = np.isfinite(tile)
        total[place] += np.where(known, tile + constant, 0.0) * window
        weight[place] += window * known
    return np.divide(total, weight, out=np.full(weight.shape, np.nan), where=weight > 0).astype(np.float32)
