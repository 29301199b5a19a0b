"""The style of all figures, and how they are written: equal tables give equal bytes."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox, BboxBase

from workflow_scripts.study.estimators import COLOURS
from workflow_scripts.study.rounding import number

COLUMN_MM, PAGE_MM = 85.0, 180.0
MM_PER_INCH = 25.4

STYLE = {
    "backend": "agg",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs everywhere
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 7),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 6),
    **dict.fromkeys(("legend.frameon", "axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "image.cmap": "gray",
    "image.interpolation": "none",
    "savefig.dpi": 300,
    "svg.fonttype": "path",
    "svg.hashsalt": "beamtime",
    "pdf.fonttype": 42,
}

BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK, GREY, YELLOW = COLOURS.values()


@contextmanager
def style() -> Iterator[None]:
    """Make and save figures inside this context: it sets the style, regardless of the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new_figure(width_mm: float = COLUMN_MM, height_mm: float = 60.0) -> Figure:
    """An empty figure of a journal's column (85 mm) or page (180 mm); use inside `style()`."""
    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained")


def save_figure(figure: Figure, table: pd.DataFrame, stem: Path) -> None:
    """Write stem.svg, .pdf and .png, and stem.csv with the numbers the figure shows; use inside `style()`.

    No dates and no versions: an equal figure and table give equal bytes.
    """
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    unwanted = {
        "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    _freeze_layout(figure)
    for kind, metadata in unwanted.items():
        figure.savefig(stem.with_name(f"{stem.name}.{kind}"), metadata=metadata)
    text = table.to_csv(index=False, lineterminator="\n", float_format=number)
    stem.with_name(f"{stem.name}.csv").write_text(text, encoding="utf-8")


def _freeze_layout(figure: Figure) -> None:
    """Lay the figure out once and round positions: the solver's last digits and signs of zeros differ between runs."""
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")
    waiting = list(figure.subfigs)
    while waiting:
        part = waiting.pop()
        part.bbox_relative.set_points(_rounded(part.bbox_relative))
        waiting += part.subfigs
    for axis in figure.axes:
        axis.set_position(Bbox(_rounded(axis.get_position(original=True))))


def _rounded(box: BboxBase) -> np.ndarray:
    return np.round(box.get_points(), 6) + 0.0  # no negative zero


def letter(axis: Axes, text: str) -> None:
    """The bold letter of a panel, above its upper left corner."""
    axis.text(-0.02, 1.06, text, transform=axis.transAxes, fontsize=9, fontweight="bold", ha="right", va="bottom")


def scale_bar(axis: Axes, pixel_size_a: float, unit: str = "Å") -> None:
    """A bar of a round length, 1, 2 or 5 × 10ⁿ Å or nm, about a quarter of an image that `axis` shows.

    pixel_size_a: side of a pixel of the image, Å, or in another unit, such as 1/Å of a diffraction pattern.
    """
    left, right = sorted(axis.get_xlim())
    target = (right - left) * pixel_size_a / 4
    decade = 10 ** math.floor(math.log10(target))
    length_a = max(step * decade for step in (1, 2, 5) if step * decade <= target)
    label = f"{length_a / 10:g} nm" if unit == "Å" and length_a >= 10 else f"{length_a:g} {unit}"
    bottom, top = sorted(axis.get_ylim())
    x, y = left + 0.06 * (right - left), top - 0.07 * (top - bottom)
    (bar,) = axis.plot([x, x + length_a / pixel_size_a], [y, y], color="white", linewidth=2, solid_capstyle="butt")
    words = axis.text(x, y - 0.03 * (top - bottom), label, color="white", va="bottom")
    # White with a dark rim is visible on any image.
    bar.set_path_effects([withStroke(linewidth=3.2, foreground="black")])
    words.set_path_effects([withStroke(linewidth=1.2, foreground="black")])


def save_panels(path: Path, panels: Mapping[str, np.ndarray], pixel_size_a: float) -> None:
    """Write images (H, W) side by side with colour bars and scale bars as a PNG without dates: equal bytes.

    Args:
        path: the file.
        panels: images by their titles; NaN is left empty. Limits are the 0.5th and the 99.5th percentile.
        pixel_size_a: side of a pixel, Å.
    """
    with style():
        figure = new_figure(PAGE_MM, 50.0)
        for axis, (title, image) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            low, high = np.nanpercentile(image, [0.5, 99.5])
            drawn = axis.imshow(image, vmin=low, vmax=high)
            axis.set_title(title)
            axis.set_axis_off()
            figure.colorbar(drawn, ax=axis, shrink=0.8)
            scale_bar(axis, pixel_size_a)
        figure.savefig(path, format="png", metadata={"Software": None})


def error_bars(points: pd.DataFrame) -> np.ndarray:
    """Lengths (2, N) of the bars below and above the values; 0 where there is no interval."""
    return np.nan_to_num(np.array([points["value"] - points["low"], points["high"] - points["value"]]))


def log_ordinate(axis: Axes) -> None:
    """Make the vertical axis logarithmic, after drawing: ticks at 1, 2 and 5, or for many decades at 1."""
    axis.set_yscale("log")
    _log_ticks(axis.yaxis, axis.get_ylim())


def log_abscissa(axis: Axes) -> None:
    """The same of the horizontal axis."""
    axis.set_xscale("log")
    _log_ticks(axis.xaxis, axis.get_xlim())


def _log_ticks(axis: Axis, limits: tuple[float, float]) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if limits[1] < 200 * limits[0] else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def without_ticks(axes: Iterable[Axes]) -> None:
    """Axes that show an image: no ticks, no frame."""
    for axis in np.ravel(axes):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
