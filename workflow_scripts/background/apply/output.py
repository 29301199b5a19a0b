"""Corrected tiles in files: stacks of TIFF that ImageJ opens, pictures of a tile and of the mosaic before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from matplotlib.axes import Axes

from workflow_scripts.study.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PAGE_MM,
    PURPLE,
    SKY,
    YELLOW,
    new_figure,
    style,
    without_ticks,
)

_IMAGEJ_BYTES = 4 * 2**30 - 2**24
_MOST_PX = 1200  # side of a mosaic in a picture
_SHOWN = 3
LEAVE_PAIR_OUT = "median_leave_pair_out"
_NAMES = {"zeros": "raw", LEAVE_PAIR_OUT: "pair left out"}
# Estimators from top to bottom
_COLOURS = {
    "zeros": GREY,
    "gaussian": GREEN,
    "maximum_2": YELLOW,
    "median_2": SKY,
    "median_4": ORANGE,
    "median_16": BLACK,
    "eigen_flats": GREY,
    "unet": PURPLE,
    "corrected": BLUE,
    LEAVE_PAIR_OUT: BLACK,
}


def write_stack(path: Path, images: np.ndarray, labels: Sequence[str], what: str, pixel_size_um: float | None) -> None:
    """Images (N, H, W) as one float32 TIFF with one page an image, its name as the label.

    Args:
        what: the quantity, as the file's metadata name it.
        pixel_size_um: None where unknown.
    """
    images = np.ascontiguousarray(images, dtype=np.float32)
    known = {} if pixel_size_um is None else {"resolution": (1 / pixel_size_um, 1 / pixel_size_um)}
    if images.nbytes < _IMAGEJ_BYTES:
        about = {"axes": "ZYX", "Info": what, "Labels": list(labels), "unit": "um" if known else "pixel"}
        tifffile.imwrite(path, images, imagej=True, metadata=about, **known)
    else:
        about = {"axes": "ZYX", "Info": what, "Labels": list(labels)}
        tifffile.imwrite(path, images, bigtiff=True, photometric="minisblack", metadata=about, **known)


def write_tiles_picture(path: Path, logs: np.ndarray, corrected: Any, names: Sequence[str]) -> None:
    """The first, middle and last tile: recorded, background, corrected, uncertainty; .png without dates."""
    some = sorted({0, len(logs) // 2, len(logs) - 1})[:_SHOWN]
    with style():
        figure = new_figure(PAGE_MM, 46.0 * len(some) + 4)
        grid = figure.subplots(len(some), 4, squeeze=False)
        without_ticks(grid.ravel())
        for row, index in zip(grid, some, strict=True):
            panels = {
                f"{names[index]}\nrecorded (ln)": logs[index],
                "background (ln)": corrected.log_flats[index],
                corrected.quantity.replace("_", " ").replace(" up", "\nup"): corrected.density[index],
                "uncertainty": corrected.spreads[index],
            }
            for axis, (title, image) in zip(row, panels.items(), strict=True):
                low, high = np.nanpercentile(image, [0.5, 99.5])
                drawn = axis.imshow(image, vmin=low, vmax=max(high, low + 1e-6))
                axis.set_title("\n".join(line if len(line) < 28 else "…" + line[-26:] for line in title.split("\n")))
                figure.colorbar(drawn, ax=axis, shrink=0.75)
        figure.savefig(path, format="png", metadata={"Software": None})


def write_mosaic_picture(
    path: Path, before: np.ndarray, after: np.ndarray, quality: dict[str, Any], quantity: str
) -> None:
    """The mosaic (h, w) before and after, and beside it residual and contrast of all estimators; .png without dates."""
    step = max(1, -(-max(before.shape) // _MOST_PX))
    shape = before.shape[1] / before.shape[0]
    height = min(120.0, 0.35 * PAGE_MM / max(shape, 0.2)) + 6
    with style():
        figure = new_figure(PAGE_MM, height)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.4, 1.4, 0.7))
        for axis, image, title in ((left, before, "recorded, −ln"), (middle, after, quantity.replace("_", " "))):
            without_ticks([axis])
            shown = image[::step, ::step]
            # Limits of its own: those of the recorded one would hide the specimen
            low, high = np.nanpercentile(shown, [0.5, 99.5])
            drawn = axis.imshow(shown, vmin=low, vmax=high)
            axis.set_title(title)
            figure.colorbar(drawn, ax=axis, shrink=0.5, pad=0.01, aspect=30)
        _bars(right, quality)
        figure.savefig(path, format="png", dpi=180, metadata={"Software": None})


def _bars(axis: Axes, quality: dict[str, Any]) -> None:
    measured = {name: about for name, about in quality.items() if about.get("overlap_residual") is not None}
    if not measured:
        axis.set_axis_off()
        axis.text(
            0.5,
            0.5,
            "no overlap of\nneighbours agrees:\nnot measured",
            ha="center",
            va="center",
            transform=axis.transAxes,
        )
        return
    names = [name for name in _COLOURS if name in measured]
    places = np.arange(len(names))
    for place, name in zip(places, names, strict=True):
        about, colour = measured[name], _COLOURS[name]
        axis.barh(place - 0.2, about["overlap_residual"], 0.36, color=colour)
        axis.barh(place + 0.2, about.get("contrast", np.nan), 0.36, color=colour, alpha=0.35)
    axis.set_yticks(places, [_NAMES.get(name, name.replace("_", " ")) for name in names])
    axis.invert_yaxis()
    axis.set(title="residual (full),\ncontrast (pale)", xlabel="σ of ln")
