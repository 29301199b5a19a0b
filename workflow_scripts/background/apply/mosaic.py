"""Corrected tiles joined to one image without seams: positions, constants of the tiles, blending."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.background.apply.overlaps import Overlap

_LAYOUT_WEIGHT = 1e-3  # of the layout against a registered shift: it decides only where no overlap does
_MOST_PIXELS = 4 * 10**9


def settled(positions_px: np.ndarray, overlaps: Sequence[Overlap]) -> np.ndarray:
    """Positions (N, 2) [y, x] that fit all registered shifts best, by least squares.

    Tiles without a registered overlap keep their place relative to their group as near as possible to the given one.
    """
    n = len(positions_px)
    rows, shifts = [], []
    for overlap in overlaps:
        row = np.zeros(n)
        row[overlap.second], row[overlap.first] = 1, -1
        rows.append(row)
        shifts.append(overlap.shift_px)
    # The layout enters weakly, tile by tile.
    matrix = np.vstack([*rows, _LAYOUT_WEIGHT * np.eye(n)])
    target = np.vstack([np.array(shifts, dtype=np.float64).reshape(-1, 2), _LAYOUT_WEIGHT * positions_px])
    return np.linalg.lstsq(matrix, target, rcond=None)[0]


def tile_constants(tiles: np.ndarray, positions_px: np.ndarray) -> np.ndarray:
    """Constants (N,) to add to tiles (N, H, W) so that they agree best where they overlap; their mean is 0.

    Weighted least squares of the mean differences over all overlaps, each with its number of pixels. Pixels that are
    NaN do not count. Groups of tiles that do not touch have a mean of 0 each.
    """
    n, shape = len(tiles), tiles.shape[1:]
    corners = np.rint(positions_px).astype(int)
    rows, differences = [], []
    for i in range(n):
        for j in range(i + 1, n):
            shift = corners[j] - corners[i]
            if (np.abs(shift) >= shape).any():
                continue
            first, second = Overlap(i, j, (int(shift[0]), int(shift[1])), 1.0).slices(shape)
            difference = tiles[i][first].astype(np.float64) - tiles[j][second]
            known = np.isfinite(difference)
            if known.any():
                weight = np.sqrt(known.sum())
                row = np.zeros(n)
                row[j], row[i] = weight, -weight
                rows.append(row)
                differences.append(weight * difference[known].mean())
    if not rows:
        return np.zeros(n)
    # The shortest solution has a mean of 0 in every group.
    return np.linalg.lstsq(np.array(rows), np.array(differences), rcond=None)[0]


def blended(
    tiles: np.ndarray, positions_px: np.ndarray, feather_px: float | None = None, level: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """One image (h, w) float32 of tiles (N, H, W) at positions (N, 2) [y, x], and the sum of weights at each pixel.

    A tile's weight falls linearly towards its edges, so that it fades out where another goes on; positions are rounded
    to whole pixels. Pixels that no tile covers are NaN, with the weight 0; what is NaN in a tile has no weight.

    Args:
        feather_px: distance from the edge over which the weight rises to 1; None takes half of the shorter side.
        level: whether `tile_constants` are added first.

    Raises:
        ValueError: shapes do not fit, a position is not finite, or the image would have more than 4·10⁹ pixels.
    """
    if tiles.ndim != 3 or np.shape(positions_px) != (len(tiles), 2) or not np.isfinite(positions_px).all():
        raise ValueError(f"tiles {tiles.shape} and positions {np.shape(positions_px)} do not fit, or are not finite")
    height, width = tiles.shape[1:]
    corners = np.rint(positions_px).astype(int)
    corners = corners - corners.min(axis=0)
    size = corners.max(axis=0) + np.array([height, width])
    if int(size[0]) * int(size[1]) > _MOST_PIXELS:
        raise ValueError(f"a mosaic of {size[0]} × {size[1]} pixels is too large; check the positions")
    constants = tile_constants(tiles, positions_px) if level else np.zeros(len(tiles))
    reach = min(height, width) / 2 if feather_px is None else max(feather_px, 1.0)
    ramps = [np.minimum(np.minimum(np.arange(n) + 1, n - np.arange(n)) / reach, 1.0) for n in (height, width)]
    window = ramps[0][:, None] * ramps[1]
    total, weight = np.zeros(size), np.zeros(size)
    for tile, corner, constant in zip(tiles, corners, constants, strict=True):
        place = (slice(corner[0], corner[0] + height), slice(corner[1], corner[1] + width))
        known = np.isfinite(tile)
        total[place] += np.where(known, tile + constant, 0.0) * window
        weight[place] += window * known
    image = np.divide(total, weight, out=np.full(weight.shape, np.nan), where=weight > 0)
    return image.astype(np.float32), weight.astype(np.float32)
