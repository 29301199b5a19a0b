"""How the second figure looks: the recipe's scale beside an honest one, and the width of the cell."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.potential.drawing import CONDITION_NUMBERS, CONDITION_TEXT, in_order
from workflow_scripts.study.conditions import with_condition_columns
from workflow_scripts.study.estimators import Registry
from workflow_scripts.study.figures import BLACK, BLUE, GREY, PAGE_MM, VERMILLION, letter, log_ordinate, new_figure

STATED_DB = 54.46
STATED_PEARSON = 0.72
PUBLISHED_FIELD_A, PUBLISHED_PIXEL_A = 25.6, 0.1
RECIPE_DB, HONEST_DB = "psnr_db_range_600000", "psnr_db_range_gt"
COLUMNS = [
    *("panel", "estimator", "metric", "detector", "thickness_nm", "field_a", "pixel_a", "cone_a"),
    *("value", "low", "high", "n"),
]


def source_table(metrics: pd.DataFrame, cells: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """All points of the figure: a and b the recipe's own patches without noise, averaged over the seeds, c and d cells.

    Args:
        metrics: as `study.tables.read_metrics` returns it.
        cells: the errors of `convergence.field_errors` and `pixel_errors`.
        registry: for the order of the estimators.

    Returns:
        columns `COLUMNS`; panels a (PSNR on both scales), b (Pearson), c and d (error in percent of the image's
        contrast by field of view and by pixel).
    """
    table = with_condition_columns(metrics, CONDITION_TEXT, CONDITION_NUMBERS)
    chosen = table[
        (table["kind"] == "patch")
        & (table["materials"] == "all")
        & (table["detector"] == "ring")
        & np.isinf(table["dose_e_per_a2"])
        & table["metric"].isin([RECIPE_DB, HONEST_DB, "pearson"])
        & table[["stage", "metadata", "fault"]].isna().all(axis=1)
    ]
    points = chosen.groupby(["estimator", "metric"], sort=False)[["value", "low", "high", "n"]].mean().reset_index()
    points["panel"] = np.where(points["metric"] == "pearson", "b", "a")
    curves = cells.rename(columns={"error_percent_of_contrast": "value"}).assign(metric="cell_error_percent")
    curves["panel"] = np.where(curves["sweep"] == "field", "c", "d")
    return pd.concat([in_order(points, registry), curves]).reindex(columns=COLUMNS).reset_index(drop=True)


def draw(table: pd.DataFrame, registry: Registry) -> Figure:
    """The figure: a PSNR on both scales, b Pearson of the same answers, c, d error by field of view and by pixel.

    Args:
        table: from `source_table`.
        registry: of the estimators, for their order, colours and markers.
    """
    figure = new_figure(PAGE_MM, 120.0)
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.2, 1.0])
    scales, pearson = top.subplots(1, 2, width_ratios=[1.5, 1.0])
    _draw_scales(scales, table[table["panel"] == "a"], registry)
    _draw_pearson(pearson, table[table["panel"] == "b"], registry)
    field, pixel = bottom.subplots(1, 2)
    _draw_cells(field, table[table["panel"] == "c"])
    _draw_pixels(pixel, table[table["panel"] == "d"])
    return figure


def _draw_scales(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    """The same errors twice: hollow on the recipe's scale, filled on that of each truth's own peak."""
    names = registry.ordered(points["estimator"])
    column = max([STATED_DB, *points.loc[points["metric"] == RECIPE_DB, "value"]])  # numbers beyond it cross no line
    beside = {"textcoords": "offset points", "va": "center", "fontsize": 6}
    for place, name in enumerate(names):
        line = points[points["estimator"] == name].set_index("metric")["value"]
        looks = registry[name].looks
        axis.plot([line[HONEST_DB], line[RECIPE_DB]], [place, place], color="0.8", linewidth=0.8, zorder=0)
        axis.plot(line[HONEST_DB], place, linestyle="none", **looks)
        hollow = {} if looks["marker"] in "x+" else {"markerfacecolor": "white"}
        axis.plot(line[RECIPE_DB], place, linestyle="none", **looks, **hollow)
        axis.annotate(f"{line[HONEST_DB]:.1f}", (line[HONEST_DB], place), xytext=(-4, 0), ha="right", **beside)
        axis.annotate(f"{line[RECIPE_DB]:.1f}", (column, place), xytext=(4, 0), **beside)
    axis.axvline(STATED_DB, color=VERMILLION, linewidth=0.8, linestyle=":")
    axis.text(STATED_DB, -0.72, f" stated {STATED_DB}", color=VERMILLION, va="top", fontsize=6)
    axis.set(xlabel="PSNR (dB), range: own peak (filled)\nor 600,000 V Å (hollow)", ylim=(len(names) - 0.5, -0.8))
    axis.set_yticks(range(len(names)), labels=names)
    axis.margins(x=0.12)
    axis.set_title(f"recipe's patches, n = {int(points['n'].min())}" if len(points) else "")
    letter(axis, "a")


def _draw_pearson(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    names = registry.ordered(points["estimator"])
    for place, name in enumerate(names):
        point = points[points["estimator"] == name].iloc[0]
        looks = registry[name].looks
        if np.isfinite(point["low"]):
            axis.plot([point["low"], point["high"]], [place, place], color=looks["color"], linewidth=1.0)
        axis.plot(point["value"], place, linestyle="none", **looks)
    axis.axvline(STATED_PEARSON, color=VERMILLION, linewidth=0.8, linestyle=":")
    axis.text(STATED_PEARSON, -0.72, f"stated {STATED_PEARSON} ", color=VERMILLION, ha="right", va="top", fontsize=6)
    axis.set(xlabel="Pearson correlation\nof the same answers", ylim=(len(names) - 0.5, -0.8), yticks=[])
    axis.set_xlim(min(-0.05, points["value"].min() - 0.05), 1.03)
    letter(axis, "b")


def _draw_cells(axis: Axes, points: pd.DataFrame) -> None:
    """A curve for each thickness, of the recipe's ring; a tick on it where the cone of the beam fills the field."""
    for line, colour in _draw_errors(axis, points, "field_a"):
        cone = float(line["cone_a"].iloc[0])
        if line["field_a"].min() <= cone <= line["field_a"].max():
            error = np.exp(np.interp(cone, line["field_a"], np.log(np.maximum(line["value"], 1e-6))))
            axis.plot(cone, error, marker="|", markersize=14, markeredgewidth=1.5, color=colour, linestyle="none")
    axis.plot([], [], marker="|", markersize=8, color="0.4", linestyle="none", label="beam fills the field")
    _mark(axis, PUBLISHED_FIELD_A, "the recipe's cell ", "right")
    axis.set(xlabel="field of view (Å)", ylabel="error of the image (% of its contrast)")
    axis.legend(loc="upper right")
    letter(axis, "c")


def _draw_pixels(axis: Axes, points: pd.DataFrame) -> None:
    """A curve for each thickness, of the recipe's ring."""
    _draw_errors(axis, points, "pixel_a")
    _mark(axis, PUBLISHED_PIXEL_A, " the recipe's pixel", "left")
    axis.set(xlabel="pixel of the multislice (Å)", ylabel="error of the image (% of its contrast)")
    axis.legend(loc="upper left")
    letter(axis, "d")


def _draw_errors(axis: Axes, points: pd.DataFrame, along: str) -> list[tuple[pd.DataFrame, str]]:
    """The curves of the recipe's ring; returns points and colour of each."""
    ring = points[points["detector"] == "ring"]
    looks = [(BLUE, "o"), (BLACK, "s"), (VERMILLION, "^"), (GREY, "D")]
    drawn = []
    for number, (thickness, line) in enumerate(ring.groupby("thickness_nm")):
        line = line.sort_values(along)
        colour, marker = looks[number % len(looks)]
        axis.plot(line[along], line["value"], color=colour, marker=marker, label=f"{thickness:g} nm")
        drawn.append((line, colour))
    log_ordinate(axis)
    return drawn


def _mark(axis: Axes, place: float, text: str, side: str) -> None:
    axis.axvline(place, color="0.5", linewidth=0.8, linestyle=":")
    axis.text(place, 0.02, text, transform=axis.get_xaxis_transform(), fontsize=6, color="0.4", ha=side)
