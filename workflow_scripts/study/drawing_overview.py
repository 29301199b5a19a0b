"""How the overview looks: for every method what goes in, what comes out, who wins, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.study.cost import totals
from workflow_scripts.study.estimators import Registry
from workflow_scripts.study.figures import BLUE, MM_PER_INCH, PAGE_MM, new_figure, scale_bar, without_ticks
from workflow_scripts.study.rounding import three_digits
from workflow_scripts.study.summaries import Picture, Summary
from workflow_scripts.study.tables import under

# Places in a row, millimetres: its height, the upper edge of pictures and axes, the pictures and the gaps between
ROW_MM, TOP_MM, IMAGE_MM, GAP_MM = 46.5, 13.0, 23.0, 2.0
LEFT_MM, SCORES_MM, COST_MM = 6.0, 100.0, 152.0
# If there are more estimators, their names are smaller
MANY = 8
COLUMNS = ["panel", "method", "what", "name", "unit", "value", "low", "high", "n"]
# Of the pixels, for colour limits that overview.yaml leaves out: a few extreme pixels must not determine them
QUANTILES = (0.005, 0.995)
LARGER = {"MB": ("GB", 1e3), "Wh": ("kWh", 1e3), "min": ("h", 60)}


@dataclass(frozen=True)
class Shown:
    """What the overview shows of one method.

    Attributes:
        summary: its words.
        registry: its estimators.
        goes_in, comes_out, truth: images (H, W).
        answered_by: the estimator behind `comes_out`.
        at: the condition of the headline in words.
        pixel, input_pixel: side of a pixel in the unit that the summary names, None where there is none.
    """

    summary: Summary
    registry: Registry
    goes_in: np.ndarray
    comes_out: np.ndarray
    truth: np.ndarray
    answered_by: str
    at: str
    pixel: float | None
    input_pixel: float | None


def source_table(shown: Mapping[str, Shown], metrics: Mapping[str, pd.DataFrame], cost: pd.DataFrame) -> pd.DataFrame:
    """All points and bars: of every method its score by estimator, seeds averaged, and CPU minutes by stage.

    metrics: tables as `read_metrics` gives them. cost: as `read_cost` gives it.
    """
    together = totals(cost)
    rows = []
    for place, (method, example) in enumerate(shown.items()):
        score = example.summary.score
        table = metrics[method]
        chosen = under(table, score.condition)
        chosen = chosen[(chosen["metric"] == score.metric) & (chosen["statistic"] == score.statistic)]
        start = {"panel": chr(ord("a") + place), "method": method}
        for name in example.registry.ordered(chosen["estimator"]):
            part = chosen[chosen["estimator"] == name]
            numbers = part[["value", "low", "high"]].mean()
            words = {"what": score.metric, "name": name, "unit": part["unit"].iloc[0], "n": int(part["n"].min())}
            rows.append(start | words | numbers.to_dict())
        for stage in cost[cost["method"] == method].itertuples():
            rows.append(start | {"what": "CPU time", "name": stage.stage, "unit": "min", "value": stage.cpu_s / 60})
        whole = together[together["method"] == method].iloc[0]
        for what, unit, value in (
            ("peak memory of a job", "MB", whole["peak_memory_mb"]),
            ("GPU time", "h", whole["gpu_h"]),
            ("energy, estimated", "Wh", whole["energy_wh"]),
        ):
            rows.append(start | {"what": what, "name": "all stages", "unit": unit, "value": value})
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def draw(table: pd.DataFrame, shown: Mapping[str, Shown]) -> Figure:
    """The figure: a row for every method."""
    figure = new_figure(PAGE_MM, ROW_MM * len(shown))
    figure.set_layout_engine("none")  # every row has the same places, whatever the words in it
    for row, (method, example) in enumerate(shown.items()):
        _draw_method(_Row(figure, row), method, example, table[table["method"] == method])
    return figure


@dataclass(frozen=True)
class _Row:
    """Places in a row of the figure: millimetres from its left and upper edge."""

    figure: Figure
    number: int

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        x, y = self._place(left, top + height)
        figure_width, figure_height = self._size
        return self.figure.add_axes((x, y, width / figure_width, height / figure_height))

    def text(self, left: float, top: float, words: str, **looks) -> None:
        self.figure.text(*self._place(left, top), words, va="top", **looks)

    @property
    def _size(self) -> tuple[float, float]:
        width, height = self.figure.get_size_inches()
        return width * MM_PER_INCH, height * MM_PER_INCH

    def _place(self, left: float, top: float) -> tuple[float, float]:
        """Fractions of the figure, from its lower left corner."""
        width, height = self._size
        return left / width, 1 - (self.number * ROW_MM + top) / height


def _draw_method(row: _Row, method: str, example: Shown, points: pd.DataFrame) -> None:
    summary = example.summary
    row.text(1.5, 1.5, points["panel"].iloc[0], fontsize=9, fontweight="bold")
    row.text(LEFT_MM, 1.8, f"{method}: {summary.title}", fontsize=8, fontweight="bold")
    places = [LEFT_MM + place * (IMAGE_MM + GAP_MM) for place in range(3)]
    goes_in, comes_out, truth = (row.axes(left, TOP_MM, IMAGE_MM, IMAGE_MM) for left in places)
    titles = ("goes in", f"comes out: {example.answered_by}" if example.answered_by else "comes out", "truth")
    for axis, title in zip((goes_in, comes_out, truth), titles, strict=True):
        axis.set_title(title, pad=3)
    _draw_image(goes_in, example.goes_in, summary.goes_in, limits(summary.goes_in, example.goes_in))
    goes_in.set_xlabel(summary.goes_in.label, labelpad=2, fontsize=6)
    bounds = limits(summary.truth, example.truth)
    same = summary.comes_out.label == summary.truth.label
    answer = _draw_image(
        comes_out,
        example.comes_out,
        summary.comes_out,
        bounds if same else limits(summary.comes_out, example.comes_out),
    )
    _draw_image(truth, example.truth, summary.truth, bounds)
    if same:
        place = row.axes(places[1] + 4, TOP_MM + IMAGE_MM + 1.6, 2 * IMAGE_MM + GAP_MM - 8, 1.3)
        bar = row.figure.colorbar(answer, cax=place, orientation="horizontal")
        bar.set_label(summary.truth.label, labelpad=1, fontsize=6)
        bar.ax.tick_params(length=1.5, pad=1)
        bar.ax.locator_params(nbins=6)
        bar.outline.set_linewidth(0.4)
    else:
        for axis, picture in ((comes_out, summary.comes_out), (truth, summary.truth)):
            axis.set_xlabel(picture.label, labelpad=2, fontsize=6)
    without_ticks([goes_in, comes_out, truth])
    for axis, pixel, picture in (
        (comes_out, example.pixel, summary.pixel),
        (goes_in, example.input_pixel, summary.input_pixel),
    ):
        if pixel:
            scale_bar(axis, pixel, picture.label)
    _draw_scores(row, points[points["what"] == summary.score.metric], example)
    _draw_cost(row, points)


def limits(picture: Picture, image: np.ndarray) -> tuple[float, float]:
    """The values of the darkest and the brightest colour: as the picture says, else by its pixels."""
    low, high = np.nanquantile(image, QUANTILES)
    return (low if picture.low is None else picture.low), (high if picture.high is None else picture.high)


def _draw_image(axis: Axes, image: np.ndarray, picture: Picture, bounds: tuple[float, float]):
    return axis.imshow(image, cmap=picture.colours, vmin=bounds[0], vmax=bounds[1])


def _draw_scores(row: _Row, points: pd.DataFrame, example: Shown) -> None:
    """Estimators one below the other with their intervals; bold: the best one and all whose interval overlaps its."""
    score = example.summary.score
    fewest, most = int(points["n"].min()), int(points["n"].max())
    n = str(most) if fewest == most else f"{fewest} to {most}"
    row.text(SCORES_MM - 16, 6.2, f"who wins: n = {n} {score.sources},\n{example.at}")
    axis = row.axes(SCORES_MM, TOP_MM, 35, IMAGE_MM)
    lows, highs = points["low"].fillna(points["value"]), points["high"].fillna(points["value"])
    winner = points["value"].idxmax() if score.better == "higher" else points["value"].idxmin()
    tied = (lows <= highs[winner]) & (highs >= lows[winner])
    for place, (_, point) in enumerate(points.iterrows()):
        entry = example.registry[point["name"]]
        if np.isfinite(point["low"]):
            axis.plot([point["low"], point["high"]], [place, place], color=entry.looks["color"], linewidth=1.0)
        axis.plot(point["value"], place, linestyle="none", **entry.looks)
        if entry.note:
            end = np.nanmax([point["value"], point["high"]]), place
            axis.annotate(entry.note, end, xytext=(4, 0), textcoords="offset points", va="center", fontsize=5)
    axis.set(ylim=(len(points) - 0.4, -0.6))
    axis.set_yticks(range(len(points)), labels=points["name"])
    axis.tick_params(axis="y", labelsize=6 if len(points) <= MANY else 5, length=2)
    for label, index in zip(axis.get_yticklabels(), points.index, strict=True):
        label.set_fontweight("bold" if tied[index] else "normal")
    low, high = points["value"].min(), points["value"].max()
    if low > 0 and high > 8 * low:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    better = "better →" if score.better == "higher" else "← better"
    axis.set_xlabel(f"{score.label}   {better}", labelpad=2)


def _draw_cost(row: _Row, points: pd.DataFrame) -> None:
    """CPU minutes by stage, and in words the largest job's memory, the GPU's hours and the energy."""
    stages = points[points["what"] == "CPU time"]
    whole = points[points["name"] == "all stages"].set_index("what")["value"]
    words = [f"{_amount(stages['value'].sum(), 'min')} CPU", _amount(whole["peak memory of a job"], "MB")]
    if whole["GPU time"] > 0:
        words.append(f"{three_digits(whole['GPU time'])} GPU h")
    words.append(f"≈ {_amount(whole['energy, estimated'], 'Wh')}")
    row.text(COST_MM - 13.5, 6.2, f"what it costs:\n{', '.join(words)}", fontsize=6.3)
    axis = row.axes(COST_MM, TOP_MM, PAGE_MM - 2.5 - COST_MM, IMAGE_MM)
    axis.barh(range(len(stages)), stages["value"].fillna(0), color=BLUE, height=0.65)
    axis.set(ylim=(len(stages) - 0.4, -0.6), xlim=(0, None))
    axis.set_yticks(range(len(stages)), labels=stages["name"])
    axis.tick_params(axis="y", length=2)
    axis.locator_params(axis="x", nbins=4)
    axis.set_xlabel("CPU time (min)", labelpad=2)


def _amount(value: float, unit: str) -> str:
    """A number of two or three digits with its unit, the next larger one where it would be long."""
    larger, factor = LARGER[unit]
    if not np.isfinite(value):
        return f"unknown {unit}"
    if value >= factor:
        value, unit = value / factor, larger
    return f"{value:.2g} {unit}" if value < 10 else f"{value:.0f} {unit}"
