"""Positions of the tiles, from a stage layout or, for a grid of tiles without one, by registration."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.background.apply.mosaic import groups, settled
from workflow_scripts.background.apply.overlaps import LEAST_OVERLAP_PX, register
from workflow_scripts.formats.tile_configuration import read_layout
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import shortened

_REACH_SHARE = 0.08  # largest deviation of an overlap in a grid from the expected one, as a fraction of a tile


def positions_px(path: Path, names: Sequence[str]) -> np.ndarray:
    """Positions (N, 2) [y, x] of the named tiles in a layout, in the order of the names.

    Raises:
        InputError: the layout is damaged, lacks a tile, or names a tile without a file.
    """
    layout = read_layout(path)
    if missing := [name for name in names if name not in layout]:
        raise InputError(
            f"layout: {path} has no line for {shortened(missing)}; add a line for each tile, or remove the tile"
        )
    if absent := [name for name in layout if name not in set(names)]:
        raise InputError(
            f"layout: {path} names {shortened(absent)}, which is not among the tiles; add the file or delete its line"
        )
    return np.array([layout[name] for name in names], dtype=np.float64)


def grid_positions_px(log_tiles: np.ndarray, grid: tuple[int, int], overlap_share: float) -> np.ndarray:
    """Positions (N, 2) [y, x] of tiles recorded row by row, left to right and top to bottom, by registration alone.

    Shifts between neighbours are searched around the expected overlap; positions are a least-squares fit to all shifts.

    Args:
        log_tiles: (N, H, W), raw.
        grid: rows and columns.
        overlap_share: expected overlap, as a fraction of the side of a tile.

    Raises:
        InputError: the number of tiles does not match the grid, or too few overlaps are registered to join all tiles.
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
            f"grid: {len(overlaps)} overlaps were registered, which does not connect"
            f" {shortened([f'tile {k + 1}' for k in loose])}; expected tiles recorded row by row, left to right and top"
            f" to bottom, with an overlap near"
            f" {overlap_share:g} of a tile; correct grid or overlap_share, rename the tiles, or give a layout"
        )
    positions = settled(nominal, overlaps)
    return positions - positions.min(axis=0)
