"""Draw the overview of the study: for every method what goes in, what comes out, who wins, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.study.by_source import read_by_source_by_method
from workflow_scripts.study.cost import totals
from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.figures import (
    BLUE,
    MM_PER_INCH,
    PAGE_MM,
    new_figure,
    save_figure,
    scale_bar,
    style,
    without_ticks,
)
from workflow_scripts.study.paired import leaders, standings
from workflow_scripts.study.result_table import headline_condition
from workflow_scripts.study.rounding import three_digits
from workflow_scripts.study.summaries import Picture, Summary, pick, read_summary
from workflow_scripts.study.tables import read_metrics_by_method
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_all_arrays
from workflow_scripts.workflow.settings import ScaleChoice

# Places in a row, millimetres: its height, the upper edge of pictures and axes, the pictures and the gaps between
ROW_MM, TOP_MM, IMAGE_MM, GAP_MM = 46.5, 13.0, 23.0, 2.0
LEFT_MM, SCORES_MM, COST_MM = 6.0, 100.0, 152.0
# If there are more estimators, their names are smaller
MANY = 8
IMAGES = ("goes_in", "comes_out", "truth")
COLUMNS = ["panel", "method", "what", "name", "unit", "value", "low", "high", "n", "in_front"]
# Of the pixels, for colour limits that overview.yaml leaves out: a few extreme pixels must not determine them
QUANTILES = (0.005, 0.995)
LARGER = {"MB": ("GB", 1e3), "Wh": ("kWh", 1e3), "min": ("h", 60)}


@dataclass(frozen=True)
class Example:
    """What the overview shows of one method.

    Attributes:
        summary: its words.
        registry: its estimators.
        images: (H, W), of `goes_in`, `comes_out` and `truth`.
        estimator: the one whose prediction comes out; empty where the array names none.
        condition: of the headline, in words.
        pixels: sides of the pixels of `goes_in` and `comes_out`, in the units of the summary; {} if it has none.
    """

    summary: Summary
    registry: Registry
    images: Mapping[str, np.ndarray]
    estimator: str
    condition: str
    pixels: Mapping[str, float]


def publish(job: Job[ScaleChoice]) -> None:
    """Write the figure in three formats and the table of its points."""
    tables = read_metrics_by_method(job.inputs["metrics"])
    registries = {path.parent.name: read_registry(path) for path in job.inputs["estimators"]}
    arrays = {path.parent.parent.name: path for path in job.inputs["examples"]}  # <method>/evaluate/…
    overviews = {path.parent.name: path for path in job.inputs["overviews"]}  # <method>/overview.yaml
    examples = {
        method: read_example(path, registries[method], arrays[method], tables[method])
        for method, path in overviews.items()
    }
    sources = read_by_source_by_method(job.inputs["by_source"])
    table = source_table(examples, tables, sources, pd.read_csv(job.input("cost")))
    with style():
        # The four files of a figure share their stem.
        save_figure(draw(table, examples), table, job.outputs["svg"].with_suffix(""))


def read_example(overview: Path, registry: Registry, examples: Path, metrics: pd.DataFrame) -> Example:
    """What the overview shows of one method; raises InputError where the arrays lack a picture."""
    summary, arrays = read_summary(overview), read_all_arrays(examples)
    images = {name: pick(arrays, getattr(summary, name), examples) for name in IMAGES}
    sides = {"goes_in": summary.input_pixel, "comes_out": summary.pixel}
    pixels = {name: float(pick(arrays, side, examples)[0]) for name, side in sides.items() if side}
    estimators = images["comes_out"][1]
    return Example(
        summary,
        registry,
        {name: image for name, (image, _) in images.items()},
        estimators[0] if estimators else "",
        summary.score.described(headline_condition(metrics, summary.score.metric, summary.score.statistic)),
        pixels,
    )


def source_table(
    examples: Mapping[str, Example],
    metrics: Mapping[str, pd.DataFrame],
    sources: Mapping[str, pd.DataFrame],
    cost: pd.DataFrame,
) -> pd.DataFrame:
    """All points and bars: of every method its score by estimator, seeds averaged, and CPU minutes by stage.

    metrics, sources: tables as `read_metrics` and `read_by_source` give them. cost: as `read_cost` gives it.
    """
    parts = []
    sums = totals(cost)
    for letter, (method, example) in zip("abcdefghijklmnopqrstuvwxyz", examples.items(), strict=False):
        score = example.summary.score
        of_score = score.metric, score.statistic, score.condition, score.better
        means = standings(metrics[method], sources[method], *of_score, given_more=score.given_more)
        means["in_front"] = np.where(means.index.isin(leaders(means)), "yes", "")
        scores = means.loc[example.registry.ordered(means.index)].rename_axis("name").reset_index()
        stages = cost[cost["method"] == method]
        times = pd.DataFrame({"name": stages["stage"], "unit": "min", "value": stages["cpu_s"] / 60})
        whole = sums[sums["method"] == method].iloc[0]
        of_all_stages = pd.DataFrame(
            [
                ("peak memory of a job", "MB", whole["peak_memory_mb"]),
                ("GPU time", "h", whole["gpu_h"]),
                ("energy, estimated", "Wh", whole["energy_wh"]),
            ],
            columns=["what", "unit", "value"],
        ).assign(name="all stages")
        rows = [scores.assign(what=score.metric), times.assign(what="CPU time"), of_all_stages]
        parts.append(pd.concat(rows).assign(panel=letter, method=method))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def draw(table: pd.DataFrame, examples: Mapping[str, Example]) -> Figure:
    """The figure: a row for every method."""
    figure = new_figure(PAGE_MM, ROW_MM * len(examples))
    figure.set_layout_engine("none")  # the layout of a row does not depend on its texts
    for number, (method, example) in enumerate(examples.items()):
        row, points = _Row(figure, number), table[table["method"] == method]
        row.text(1.5, 1.5, points["panel"].iloc[0], fontsize=9, fontweight="bold")
        row.text(LEFT_MM, 1.8, f"{method}: {example.summary.title}", fontsize=8, fontweight="bold")
        _draw_images(row, example)
        _draw_scores(row, points[points["what"] == example.summary.score.metric], example)
        _draw_cost(row, points)
    return figure


@dataclass(frozen=True)
class _Row:
    """A row of the figure; positions are in millimetres from its left and upper edge."""

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


def _draw_images(row: _Row, example: Example) -> None:
    """Input, prediction and truth; the last two share their colours where they show the same quantity."""
    pictures = {name: getattr(example.summary, name) for name in IMAGES}
    titles = ("goes in", f"comes out: {example.estimator}" if example.estimator else "comes out", "truth")
    limits = {name: _limits(pictures[name], example.images[name]) for name in IMAGES}
    shared = pictures["comes_out"].label == pictures["truth"].label
    if shared:
        limits["comes_out"] = limits["truth"]
    lefts = [LEFT_MM + place * (IMAGE_MM + GAP_MM) for place in range(len(IMAGES))]
    axes = {name: row.axes(left, TOP_MM, IMAGE_MM, IMAGE_MM) for name, left in zip(IMAGES, lefts, strict=True)}
    drawn = {}
    for (name, axis), title in zip(axes.items(), titles, strict=True):
        low, high = limits[name]
        drawn[name] = axis.imshow(example.images[name], cmap=pictures[name].colours, vmin=low, vmax=high)
        axis.set_title(title, pad=3)
        if name == "goes_in" or not shared:
            axis.set_xlabel(pictures[name].label, labelpad=2, fontsize=6)
    if shared:
        place = row.axes(lefts[1] + 4, TOP_MM + IMAGE_MM + 1.6, 2 * IMAGE_MM + GAP_MM - 8, 1.3)
        bar = row.figure.colorbar(drawn["comes_out"], cax=place, orientation="horizontal")
        bar.set_label(pictures["truth"].label, labelpad=1, fontsize=6)
        bar.ax.tick_params(length=1.5, pad=1)
        bar.ax.locator_params(nbins=6)
        bar.outline.set_linewidth(0.4)
    without_ticks(list(axes.values()))
    units = {"goes_in": example.summary.input_pixel, "comes_out": example.summary.pixel}
    for name, pixel in example.pixels.items():
        scale_bar(axes[name], pixel, units[name].label)


def _limits(picture: Picture, image: np.ndarray) -> tuple[float, float]:
    """The values of the darkest and the brightest colour: as the picture says, else by its pixels."""
    low, high = np.nanquantile(image, QUANTILES)
    return (low if picture.low is None else picture.low), (high if picture.high is None else picture.high)


def _annotate(axis: Axes, note: str, point: pd.Series, place: int) -> None:
    """A note beside a point and its interval, on the side with more room."""
    in_axis = axis.transData + axis.transAxes.inverted()
    is_right = in_axis.transform((point["value"], place))[0] > 0.5
    end = np.nanmin([point["value"], point["low"]]) if is_right else np.nanmax([point["value"], point["high"]])
    offset, side = ((-4, 0), "right") if is_right else ((4, 0), "left")
    axis.annotate(note, (end, place), xytext=offset, textcoords="offset points", ha=side, va="center", fontsize=5)


def _draw_scores(row: _Row, points: pd.DataFrame, example: Example) -> None:
    """Estimators one below the other with their intervals; bold: the best one and all not significantly worse."""
    score = example.summary.score
    fewest, most = int(points["n"].min()), int(points["n"].max())
    n = str(most) if fewest == most else f"{fewest} to {most}"
    row.text(SCORES_MM - 16, 6.2, f"who wins: n = {n} {score.sources},\n{example.condition}")
    axis = row.axes(SCORES_MM, TOP_MM, 35, IMAGE_MM)
    for place, (_, point) in enumerate(points.iterrows()):
        entry = example.registry[point["name"]]
        if np.isfinite(point["low"]):
            axis.plot([point["low"], point["high"]], [place, place], color=entry.looks["color"], linewidth=1.0)
        axis.plot(point["value"], place, linestyle="none", **entry.looks)
    axis.set(ylim=(len(points) - 0.4, -0.6))
    axis.set_yticks(range(len(points)), labels=points["name"])
    axis.tick_params(axis="y", labelsize=6 if len(points) <= MANY else 5, length=2)
    for label, index in zip(axis.get_yticklabels(), points.index, strict=True):
        label.set_fontweight("bold" if points["in_front"][index] == "yes" else "normal")
    low, high = points["value"].min(), points["value"].max()
    if low > 0 and high > 8 * low:
        axis.set_xscale("log")
    for place, (_, point) in enumerate(points.iterrows()):
        if note := example.registry[point["name"]].note:
            _annotate(axis, note, point, place)
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


if __name__ == "__main__":
    Command(
        publish,
        ScaleChoice,
        inputs={
            "overviews": "overview.yaml of every method that the figure shows, in its order.",
            "estimators": "estimators.yaml of these methods.",
            "metrics": "Metrics of these methods (.csv).",
            "by_source": "What every source contributes to them (.csv).",
            "examples": "Arrays of these methods, of the stage evaluate (.npz).",
            "cost": "What the study cost (.csv).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind it.",
        },
    ).main()
