"""The user's tiles as the method needs them: logarithms, valid pixels, where they lie and which overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflow_scripts.background.apply.image_files import read_images, read_mean
from workflow_scripts.background.apply.layout import grid_positions_px, positions_px, read_layout
from workflow_scripts.background.apply.mosaic import settled
from workflow_scripts.background.apply.overlaps import Overlap, register
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.simulation.counting import DEAD, log_tiles
from workflow_scripts.workflow.errors import InputError

FEWEST_SHOWN = 4  # tiles whose median is a flat field to learn from
_HELD_BACK_FROM = 8  # tiles from which on half of them judge and are not learned from
_SMALLEST_BEAM = 16  # valid pixels of an open-beam region


@dataclass(frozen=True)
class Files:
    """The files of one entry, as the jobs get them."""

    tiles: Sequence[Path]
    dark: Sequence[Path] = ()
    references: Sequence[Path] = ()
    layout: Path | None = None

    @classmethod
    def of(cls, inputs) -> "Files":
        """From the inputs of a job."""
        layout = inputs.get("layout_file", [])
        given = (inputs.get(name, []) for name in ("tile_files", "dark_files", "reference_files"))
        return cls(*given, layout[0] if layout else None)


@dataclass(frozen=True)
class OwnTiles:
    """The user's tiles.

    Attributes:
        names: of the tiles.
        logs: ln of the light, less the median of each tile, float32 (N, H, W).
        valid: bool (N, H, W), where there was light.
        levels: what was subtracted (N,): ln of the median light, counts.
        reference_logs: the same of the images without a specimen (R, H, W), R may be 0.
    """

    names: tuple[str, ...]
    logs: np.ndarray
    valid: np.ndarray
    levels: np.ndarray
    reference_logs: np.ndarray


def read_own(settings: Apply, files: Files) -> tuple[OwnTiles, dict[str, Any]]:
    """The tiles that an entry describes, and what was found in their files, as plain JSON.

    Raises:
        InputError: a file is broken, or the tiles cannot be corrected with these settings.
    """
    recorded = read_images(files.tiles, "tiles")
    count, shape = len(recorded.names), recorded.images.shape[1:]
    if count < 2:
        raise InputError(f"tiles: {settings.tiles} holds a single image, expected at least 2 of one session; add more")
    dark: float | np.ndarray = settings.dark_counts
    remarks = list(recorded.remarks)
    if files.dark:
        dark = read_mean(files.dark, "dark", shape)
    elif not settings.dark_counts:
        remarks.append("dark: no dark frame and no dark_counts are given; 0 is taken, which flattens contrast if wrong")
    logs, valid, levels = _logs(recorded.images, recorded.names, dark, "tiles")
    reference_logs = np.zeros((0, *shape), np.float32)
    if files.references:
        bare = read_images(files.references, "references")
        if bare.images.shape[1:] != shape:
            raise InputError(
                f"references: {settings.references} holds images of {bare.images.shape[1]} × {bare.images.shape[2]}"
                f" pixels, but the tiles have {shape[0]} × {shape[1]}; give references of the same camera and binning"
            )
        reference_logs = _logs(bare.images, bare.names, dark, "references")[0]
        remarks += bare.remarks
    own = OwnTiles(recorded.names, logs, valid, levels, reference_logs)
    _check_open_beam(settings, own)
    finetune = _finetune(settings, count)
    brightest = recorded.images.max()
    return own, {
        "tiles": list(recorded.names),
        "size_px": list(shape),
        "pixel_size_um": recorded.pixel_size_um,
        "references": len(reference_logs),
        "dark_counts": float(np.mean(dark)),
        "level_counts": np.exp(levels).tolist(),
        "dead_share": (1 - valid.mean(axis=(1, 2))).tolist(),
        "share_at_largest_value": (recorded.images == brightest).mean(axis=(1, 2)).tolist(),
        "finetune": finetune,
        "shown": [recorded.names[index] for index in shown(count)] if finetune == "tiles" else [],
        "remarks": remarks,
    }


def place(settings: Apply, files: Files, own: OwnTiles) -> dict[str, Any]:
    """Where the tiles lie and which of them overlap, as plain JSON; nothing where neither layout nor grid is given.

    Raises:
        InputError: the layout does not fit the tiles, or the grid cannot be put together.
    """
    if files.layout is not None:
        nominal = positions_px(read_layout(files.layout), own.names, files.layout)
    elif settings.grid is not None:
        nominal = grid_positions_px(own.logs, settings.grid, settings.overlap_share)
    else:
        return {"positions_px": None, "overlaps": [], "remarks": []}
    overlaps = register(own.logs, nominal)
    remarks = []
    if not overlaps:
        remarks.append(
            "no overlap of neighbours agrees: positions are those of the layout, and nothing judges the tiles"
        )
    return {
        "positions_px": (settled(nominal, overlaps) if overlaps else nominal).tolist(),
        "overlaps": [[overlap.first, overlap.second, *overlap.shift_px, overlap.correlation] for overlap in overlaps],
        "remarks": remarks,
    }


def read_overlaps(report: dict[str, Any]) -> list[Overlap]:
    """The overlaps of a report."""
    return [Overlap(first, second, (dy, dx), correlation) for first, second, dy, dx, correlation in report["overlaps"]]


def shown(count: int) -> range:
    """Numbers of the tiles that a network learns from, where it learns from tiles: the first half, or all of a few."""
    return range(count // 2 if count >= _HELD_BACK_FROM else count)


def judging(report: dict[str, Any]) -> list[Overlap]:
    """The overlaps that judge: of tiles that no network has learned from, or all where there are no such overlaps."""
    learned = set(report["shown"])
    fresh = [index for index, name in enumerate(report["tiles"]) if name not in learned]
    overlaps = read_overlaps(report)
    kept = [overlap for overlap in overlaps if overlap.first in fresh and overlap.second in fresh]
    return kept or overlaps


def _logs(
    images: np.ndarray, names: Sequence[str], dark: float | np.ndarray, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # The median that log_tiles subtracts: of an even number of pixels the lower one
    light = torch.as_tensor(images - dark).flatten(1).median(dim=1).values.numpy()
    if dim := [name for name, level in zip(names, light, strict=True) if level < 1]:
        raise InputError(
            f"{what}: in {dim[0]}{f' and {len(dim) - 1} more' if len(dim) > 1 else ''} half of the pixels are no"
            " brighter than the dark frame; give the dark frame of this exposure, or correct dark_counts"
        )
    logs, dead = log_tiles(torch.as_tensor(images), torch.as_tensor(dark))
    return logs.numpy(), ~dead.numpy(), np.log(light)


def _check_open_beam(settings: Apply, own: OwnTiles) -> None:
    if settings.open_beam_px is None:
        return
    if settings.open_beam_tile not in own.names:
        raise InputError(
            f"open_beam_tile: there is no tile {settings.open_beam_tile!r}; the first are {', '.join(own.names[:4])}"
        )
    top, left, bottom, right = settings.open_beam_px
    height, width = own.logs.shape[1:]
    if bottom > height or right > width:
        raise InputError(
            f"open_beam_px: is {list(settings.open_beam_px)}, but the tiles have {height} × {width} pixels; give"
            " [top, left, bottom, right] inside them"
        )
    count = own.valid[own.names.index(settings.open_beam_tile), top:bottom, left:right].sum()
    if count < _SMALLEST_BEAM:
        raise InputError(
            f"open_beam_px: {count} pixels of it got at least {100 * DEAD:g} % of the tile's light, expected"
            f" {_SMALLEST_BEAM}; name a brighter or larger region"
        )


def _finetune(settings: Apply, count: int) -> str:
    if settings.finetune == "tiles" and count < FEWEST_SHOWN:
        raise InputError(
            f"finetune: is tiles, but there are {count} of them, expected at least {FEWEST_SHOWN}; add tiles, or set it"
            " to none"
        )
    if settings.finetune != "auto":
        return settings.finetune
    if settings.references is not None:
        return "references"
    return "tiles" if count >= FEWEST_SHOWN else "none"
