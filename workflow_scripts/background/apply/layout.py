"""Stage layouts: TileConfiguration.txt as Fiji's stitching writes it, and positions of a grid without one.

The format is that of doi:10.1093/bioinformatics/btp184: `dim = 2`, then one line `name; ; (x, y)` a tile, in pixels.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.background.apply.mosaic import groups, settled
from workflow_scripts.background.apply.overlaps import LEAST_OVERLAP_PX, register
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import shortened

_SETTING = re.compile(r"(\w+)\s*=\s*(\S+)")
_TILE = re.compile(r"([^;]+);([^;]*);\s*\(([^()]*)\)")
_LARGEST_PX = 1e7
_LARGEST_BYTES = 10_000_000
_REACH_SHARE = 0.08  # by which the overlap of neighbours in a grid may differ from the expected one, share of a tile


def read_layout(path: Path) -> dict[str, tuple[float, float]]:
    """Positions [y, x] of the tiles' corners in pixels, by file name without its folder.

    Comments, empty lines, `multiseries` and Fiji's series number between the semicolons are skipped.

    Raises:
        InputError: the file is absent, no text, or no layout in two dimensions; a line is malformed, names a tile
            twice, or has a position that is no number.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"layout: {path} is larger than a layout can be; give the TileConfiguration.txt")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"layout: {path} is no UTF-8 text; give the TileConfiguration.txt") from None
    except OSError as error:
        raise InputError(f"layout: {path} cannot be read ({error.strerror}); correct path or permissions") from None
    places: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"layout: line {number} of {path}"
        if setting := _SETTING.fullmatch(text):
            if setting[1] == "dim" and setting[2] != "2":
                raise InputError(
                    f"{where} says dim = {setting[2]}, expected dim = 2; export the layout in two dimensions"
                )
            continue
        if not (tile := _TILE.fullmatch(text)):
            raise InputError(f"{where} is {text[:80]!r}, expected the form `name; ; (x, y)`; correct the line")
        name = re.split(r"[\\/]", tile[1].strip())[-1]
        if name in places:
            raise InputError(f"{where} names {name} a second time; keep one of the two lines")
        x, y = _position(tile[3], f"{where} ({name})")
        places[name] = (y, x)
    if not places:
        raise InputError(f"layout: {path} names no tile, expected lines of the form `name; ; (x, y)`")
    return places


def positions_px(layout: dict[str, tuple[float, float]], names: Sequence[str], path: Path) -> np.ndarray:
    """Positions (N, 2) [y, x] of the named tiles, in the order of the names.

    Args:
        path: of the layout, for the sentence.

    Raises:
        InputError: a tile is not in the layout, or the layout names one that is not there.
    """
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


def _position(text: str, where: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise InputError(f"{where} has {len(parts)} coordinates, expected (x, y); correct the line")
    try:
        x, y = (float(part) for part in parts)
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= _LARGEST_PX and abs(y) <= _LARGEST_PX):
        raise InputError(f"{where} has the position ({text[:60]}), expected two finite numbers in pixels")
    return x, y
