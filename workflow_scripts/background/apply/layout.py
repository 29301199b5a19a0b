"""Positions of the tiles: from a stage layout, or of a grid without one by registration."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.background.apply.mosaic import groups, settled
from workflow_scripts.background.apply.overlaps import LEAST_OVERLAP_PX, register
from workflow_scripts.formats.tile_configuration import read_layout
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import shortened

_REACH_SHARE = 0.08  # by which the overlap of neighbours in a grid may differ from the expected one, share of a tile


def positions_px(path: Path, names: Sequence[str]) -> np.ndarray:
    """Positions (N, 2) [y, x] of the named tiles in a layout, in the order of the names.

    Raises:
        InputError: the layout is damaged, lacks a tile, or names one that is absent.
    """
    layout = read_layout(path)
    if missing := [name for name in names if name not in layout]:
        raise InputError(
            f"layout: {path} has no line for {shortened(missing)}; add a line for each tile, or take the tile away"
        )
    if absent := [name for name in layout if name not in set(names)]:
        raise InputError(
            f"layout: {path} names {shortened(absent)}, which is not among the tiles; add the file or delete its line"
        )
    return np.array([layout[name] for name in names], dtype=np.float64)


def grid_positions_px(log_tiles: np.ndarray, grid: tuple[int, int], overlap_share: float) -> np.ndarray:
    """Positions (N, 2) [y, x] of tiles taken row by row, left to right and top to bottom, by registration alone.

    Neighbours are searched around the expected overlap; the positions are those that fit all registered shifts best.

    Args:
        log_tiles: (N, H, W), raw.
        grid: rows and columns.
        overlap_share: expected overlap, share of a tile's side.

    Raises:
        InputError: the number of tiles does not fit the grid, or too few overlaps agree to join all tiles.
    """
    rows, columns = grid
    if rows * columns != len(log_tiles):
        raise InputError(
            f"grid: {rows} × {columns} has {rows * columns} places, but there are {len(log_tiles)} tiles; correct grid"
        )
    shape = np.array(log_tiles.shape[1:])
    nominal = np.array([(i, j) for i in range(rows) for j in range(columns)]) * shape * (1 - overlap_share)
    reach = max(4, round(_REACH_SHARE * max(shape)))
    least = min(LEAST_OVERLAP_PX, max(4, round(overlap_share * min(shape) / 2)))
    overlaps = register(log_tiles, nominal, reach, least_px=least)
    group = groups(len(log_tiles), overlaps)
    loose = np.flatnonzero(group != np.bincount(group).argmax())
    if len(loose):
        raise InputError(
            f"grid: {len(overlaps)} overlaps agree, which leaves {shortened([f'tile {k + 1}' for k in loose])} without"
            f" a place; expected tiles taken row by row, left to right and top to bottom, with an overlap near"
            f" {overlap_share:g} of a tile; correct grid or overlap_share, rename the tiles, or give a layout"
        )
    positions = settled(nominal, overlaps)
    return positions - positions.min(axis=0)
