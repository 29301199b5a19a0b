"""Output files of the correction: TIFF stacks that ImageJ opens, pictures of tiles and mosaic before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from matplotlib.axes import Axes

from workflow_scripts.background.apply.correction import Corrected
from workflow_scripts.background.apply.data import UserTiles
from workflow_scripts.study import figures

_IMAGEJ_BYTES = 4 * 2**30 - 2**24
_MOST_PX = 1200  # largest side of a mosaic in a picture
LEAVE_PAIR_OUT = "median_leave_pair_out"
_NAMES = {"zeros": "raw", LEAVE_PAIR_OUT: "pair left out"}
# Estimators in the order of the bars, from top to bottom
_COLOURS = {
    "zeros": figures.GREY,
    "gaussian": figures.GREEN,
    "median_2": figures.SKY,
    "median_4": figures.ORANGE,
    "median_16": figures.BLACK,
    "eigen_flats": figures.GREY,
    "corrected": figures.BLUE,
    LEAVE_PAIR_OUT: figures.BLACK,
}


def write_stack(
    path: Path, images: np.ndarray, labels: Sequence[str], quantity: str, pixel_size_um: float | None
) -> None:
    """Write images (N, H, W) as one float32 TIFF with a labelled page for each.

    Args:
        labels: of the pages.
        quantity: name of the quantity, for the metadata of the file.
        pixel_size_um: None if unknown.
    """
    images = np.ascontiguousarray(images, dtype=np.float32)
    scale = {} if pixel_size_um is None else {"resolution": (1 / pixel_size_um, 1 / pixel_size_um)}
    about = {"axes": "ZYX", "Info": quantity, "Labels": list(labels)}
    if images.nbytes < _IMAGEJ_BYTES:
        about["unit"] = "um" if scale else "pixel"
        tifffile.imwrite(path, images, imagej=True, metadata=about, **scale)
    else:
        tifffile.imwrite(path, images, bigtiff=True, photometric="minisblack", metadata=about, **scale)


def write_tiles_picture(
    path: Path, tiles: UserTiles, log_flats: np.ndarray, spreads: np.ndarray, corrected: Corrected
) -> None:
    """Write the first, middle and last tile (recorded, background, corrected, uncertainty) as a .png without dates."""
    indices = sorted({0, len(tiles.logs) // 2, len(tiles.logs) - 1})
    with figures.style():
        figure = figures.new_figure(figures.PAGE_MM, 46.0 * len(indices) + 4)
        grid = figure.subplots(len(indices), 4, squeeze=False)
        figures.without_ticks(grid.ravel())
        for row, index in zip(grid, indices, strict=True):
            panels = {
                f"{tiles.names[index]}\nrecorded (ln)": tiles.logs[index],
                "background (ln)": log_flats[index],
                corrected.quantity.replace("_", " ").replace(" up", "\nup"): corrected.density[index],
                "uncertainty": spreads[index],
            }
            for axis, (title, image) in zip(row, panels.items(), strict=True):
                lines = [line if len(line) < 28 else "…" + line[-26:] for line in title.split("\n")]
                _draw_image(axis, image, "\n".join(lines), shrink=0.75)
        figure.savefig(path, format="png", metadata={"Software": None})


def write_mosaic_picture(
    path: Path, before: np.ndarray, after: np.ndarray, quality: dict[str, Any], quantity: str
) -> None:
    """Write the mosaic (h, w) before and after, and residual and contrast of all estimators; a .png without dates."""
    step = max(1, -(-max(before.shape) // _MOST_PX))
    shape = before.shape[1] / before.shape[0]
    height = min(120.0, 0.35 * figures.PAGE_MM / max(shape, 0.2)) + 6
    with figures.style():
        figure = figures.new_figure(figures.PAGE_MM, height)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.4, 1.4, 0.7))
        figures.without_ticks([left, middle])
        for axis, image, title in ((left, before, "recorded, −ln"), (middle, after, quantity.replace("_", " "))):
            _draw_image(axis, image[::step, ::step], title, shrink=0.5, pad=0.01, aspect=30)
        _bars(right, quality)
        figure.savefig(path, format="png", dpi=180, metadata={"Software": None})


def _draw_image(axis: Axes, image: np.ndarray, title: str, **colour_bar: float) -> None:
    """An image scaled to its own range: the range of a recorded image would hide the specimen in a corrected one."""
    low, high = np.nanpercentile(image, [0.5, 99.5])
    drawn = axis.imshow(image, vmin=low, vmax=max(high, low + 1e-6))
    axis.set_title(title)
    axis.figure.colorbar(drawn, ax=axis, **colour_bar)


def _bars(axis: Axes, quality: dict[str, Any]) -> None:
    measured = {name: about for name, about in quality.items() if about.get("overlap_residual") is not None}
    if not measured:
        axis.set_axis_off()
        text = "no overlap of\nneighbours agrees:\nnot measured"
        axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes)
        return
    names = [name for name in _COLOURS if name in measured]
    for place, name in enumerate(names):
        about, colour = measured[name], _COLOURS[name]
        axis.barh(place - 0.2, about["overlap_residual"], 0.36, color=colour)
        axis.barh(place + 0.2, about.get("contrast", np.nan), 0.36, color=colour, alpha=0.35)
    axis.set_yticks(range(len(names)), [_NAMES.get(name, name.replace("_", " ")) for name in names])
    axis.invert_yaxis()
    axis.set(title="residual (full),\ncontrast (pale)", xlabel="σ of ln")
