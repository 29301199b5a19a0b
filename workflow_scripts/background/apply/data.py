"""The user's tiles, prepared for correction: logarithms, valid pixels, positions, and which tiles overlap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflow_scripts.background.apply.image_files import read_image_set, read_mean
from workflow_scripts.background.apply.layout import grid_positions_px, positions_px
from workflow_scripts.background.apply.mosaic import settled
from workflow_scripts.background.apply.overlaps import Overlap, register
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.simulation.sessions import DEAD_SHARE, session_logs
from workflow_scripts.workflow.errors import InputError

TILE_FILES = {"tile_files": "The raw tiles (.tif, .tiff, .xrm, .txrm)."}
OPTIONAL_FILES = {
    "dark_files": "Dark frames.",
    "reference_files": "Images without a specimen.",
    "layout_file": "Stage layout of the tiles (TileConfiguration.txt).",
}
FEWEST_FOR_TRAINING = 4  # tiles needed to use their median as a flat field for training
_FEWEST_FOR_VALIDATION = 8  # tiles from which on the second half is for validation, not for training
_SMALLEST_BEAM = 16  # valid pixels needed in an open-beam region


@dataclass(frozen=True)
class UserTiles:
    """The user's tiles.

    Attributes:
        names: of the tiles.
        logs: ln of counts less dark, less the median of each tile, float32 (N, H, W).
        valid: bool (N, H, W), pixels that are not dead.
        levels: the medians that were subtracted (N,), ln of counts.
        reference_logs: as logs, for the images without a specimen (R, H, W); R may be 0.
    """

    names: tuple[str, ...]
    logs: np.ndarray
    valid: np.ndarray
    levels: np.ndarray
    reference_logs: np.ndarray


def read_tiles(settings: Apply, files: Mapping[str, Sequence[Path]]) -> tuple[UserTiles, dict[str, Any]]:
    """The tiles of an entry, and a report on their files as plain JSON.

    Args:
        settings: the entry.
        files: the inputs of the job by name, `TILE_FILES` and `OPTIONAL_FILES`.

    Raises:
        InputError: a file is damaged, or the tiles cannot be corrected with these settings.
    """
    recorded = read_image_set(files["tile_files"], "tiles")
    count, shape = len(recorded.names), recorded.images.shape[1:]
    if count < 2:
        raise InputError(f"tiles: {settings.tiles} holds a single image, expected at least 2 of one session; add more")
    dark: float | np.ndarray = settings.dark_counts
    remarks = list(recorded.remarks)
    if files.get("dark_files"):
        dark = read_mean(files["dark_files"], "dark", shape)
    elif not settings.dark_counts:
        remarks.append("dark: neither dark nor dark_counts is set; 0 is assumed, which reduces contrast if it is wrong")
    logs, valid, levels = _logs(recorded.images, recorded.names, dark, "tiles")
    reference_logs = np.zeros((0, *shape), np.float32)
    if files.get("reference_files"):
        bare = read_image_set(files["reference_files"], "references", shape)
        reference_logs = _logs(bare.images, bare.names, dark, "references")[0]
        remarks += bare.remarks
    tiles = UserTiles(recorded.names, logs, valid, levels, reference_logs)
    _check_open_beam(settings, tiles)
    finetune = _finetune(settings, count)
    return tiles, {
        "tiles": list(recorded.names),
        "size_px": list(shape),
        "pixel_size_um": recorded.pixel_size_um,
        "references": len(reference_logs),
        "dark_counts": float(np.mean(dark)),
        "level_counts": np.exp(levels).tolist(),
        "dead_share": (1 - valid.mean(axis=(1, 2))).tolist(),
        "share_at_largest_value": (recorded.images == recorded.images.max()).mean(axis=(1, 2)).tolist(),
        "finetune": finetune,
        "shown": [recorded.names[index] for index in training_part(count)] if finetune == "tiles" else [],
        "remarks": remarks,
    }


def place(settings: Apply, files: Mapping[str, Sequence[Path]], tiles: UserTiles) -> dict[str, Any]:
    """Positions of the tiles and which of them overlap, as plain JSON; null without a layout or a grid.

    Raises:
        InputError: the layout does not match the tiles, or the grid cannot be registered.
    """
    if files.get("layout_file"):
        (layout,) = files["layout_file"]
        nominal = positions_px(layout, tiles.names)
    elif settings.grid is not None:
        nominal = grid_positions_px(tiles.logs, settings.grid, settings.overlap_share)
    else:
        return {"positions_px": None, "overlaps": [], "remarks": []}
    overlaps = register(tiles.logs, nominal)
    if not overlaps:
        remark = (
            "no overlap could be registered: positions are those of the layout, and the correction is not validated"
        )
        return {"positions_px": nominal.tolist(), "overlaps": [], "remarks": [remark]}
    rows = [[overlap.first, overlap.second, *overlap.shift_px, overlap.correlation] for overlap in overlaps]
    return {"positions_px": settled(nominal, overlaps).tolist(), "overlaps": rows, "remarks": []}


def training_part(count: int) -> range:
    """Numbers of the tiles for training, if the network is adapted to tiles: the first half, or all of a few."""
    return range(count // 2 if count >= _FEWEST_FOR_VALIDATION else count)


def validation_overlaps(report: dict[str, Any]) -> list[Overlap]:
    """The overlaps between tiles that were not used for training, or all overlaps if there are none."""
    held_out = {index for index, name in enumerate(report["tiles"]) if name not in report["shown"]}
    overlaps = [Overlap(first, second, (dy, dx), value) for first, second, dy, dx, value in report["overlaps"]]
    return [overlap for overlap in overlaps if {overlap.first, overlap.second} <= held_out] or overlaps


def _logs(
    images: np.ndarray, names: Sequence[str], dark: float | np.ndarray, setting: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # The median that log_tiles subtracts: of an even number of pixels the lower one
    light = torch.as_tensor(images - dark).flatten(1).median(dim=1).values.numpy()
    if dim := [name for name, level in zip(names, light, strict=True) if level < 1]:
        raise InputError(
            f"{setting}: half of the pixels in {dim[0]}{f' and {len(dim) - 1} more' if len(dim) > 1 else ''} are no"
            " brighter than the dark frame; give the dark frame of this exposure, or correct dark_counts"
        )
    logs, dead = session_logs(images, dark)
    return logs, ~dead, np.log(light)


def _check_open_beam(settings: Apply, tiles: UserTiles) -> None:
    if settings.open_beam_px is None:
        return
    if settings.open_beam_tile not in tiles.names:
        raise InputError(
            f"open_beam_tile: there is no tile {settings.open_beam_tile!r}; the first are {', '.join(tiles.names[:4])}"
        )
    top, left, bottom, right = settings.open_beam_px
    height, width = tiles.logs.shape[1:]
    if bottom > height or right > width:
        raise InputError(
            f"open_beam_px: is {list(settings.open_beam_px)}, but the tiles have {height} × {width} pixels; give"
            " [top, left, bottom, right] inside them"
        )
    count = tiles.valid[tiles.names.index(settings.open_beam_tile), top:bottom, left:right].sum()
    if count < _SMALLEST_BEAM:
        raise InputError(
            f"open_beam_px: {count} pixels have at least {100 * DEAD_SHARE:g} % of the tile's median light, expected at"
            f" least {_SMALLEST_BEAM}; give a brighter or larger region"
        )


def _finetune(settings: Apply, count: int) -> str:
    if settings.finetune == "tiles" and count < FEWEST_FOR_TRAINING:
        raise InputError(
            f"finetune: is tiles, but there are {count} of them, expected at least {FEWEST_FOR_TRAINING}; add tiles, or"
            " set it to none"
        )
    if settings.finetune != "auto":
        return settings.finetune
    if settings.references is not None:
        return "references"
    return "tiles" if count >= FEWEST_FOR_TRAINING else "none"
