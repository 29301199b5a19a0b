"""The figure of the background: examples, errors and ghosting, dependence on tiles and on steps, uncertainty."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.background.settings import Plot
from workflow_scripts.study.conditions import with_condition_columns
from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.figures import BLUE, PAGE_MM, letter, new_figure, save_figure, style, without_ticks
from workflow_scripts.study.tables import headline_numbers, read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_arrays

EXAMPLES = ("estimators", "names", "raw", "truth", "estimated", "errors", "spread", "spread_bins", "error_bins")
# Estimators whose corrected tiles are shown
PICTURED = ("gaussian", "gated_2", "unet", "published", "corrected")
# Repeated from evaluation/metrics.py
ERROR, GHOST, COVERAGE = "od_rmse_up_to_constant", "ghosting_correlation", "spread_coverage"
SETS = ("median", "gated")  # estimators whose names end in the number of tiles
NOMINAL_COVERAGE = 0.68
COLUMNS = ["panel", "estimator", "metric", "references", "tiles", "steps", "spread", "value", "low", "high", "n"]
# Optical densities and their errors have the same limits in every picture
RAW = {"vmin": 0, "vmax": 2}
DENSITIES = {"vmin": -0.2, "vmax": 1.2, "cmap": "magma"}
ERRORS = {"vmin": -0.2, "vmax": 0.2, "cmap": "RdBu_r"}
SPREADS = {"vmin": 0, "vmax": 0.2, "cmap": "viridis"}


def plot(job: Job[Plot]) -> None:
    """Write the figure in three formats and the table of its points."""
    registry, examples = read_registry(job.input("estimators")), read_arrays(job.input("examples"), EXAMPLES)
    points = source_table(read_metrics(job.input("metrics")), examples, registry)
    with style():
        # The four files of a figure share their stem.
        save_figure(draw(points, examples, registry), points, job.outputs["svg"].with_suffix(""))


def source_table(metrics: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> pd.DataFrame:
    """All points of panels b to f, seeds averaged, estimators in the order of the registry.

    Panels: b error and c ghosting at the headline, and of eigen flats also from references of an earlier session;
    d error against the number of tiles; e error against the number of steps; f error against spread, and coverage.

    Returns:
        columns `COLUMNS`.
    """
    table = with_condition_columns(metrics, texts=("stage", "references"), numbers=("tiles", "steps"))
    of_curve = table[(table["metric"] == ERROR) & table["steps"].notna()]
    table = table[table["stage"].isna() & table["steps"].isna()]
    scores = pd.concat([headline_numbers(metrics), table[table["references"] == "earlier"]])
    parts = {
        "b": scores[scores["metric"] == ERROR],
        "c": scores[scores["metric"] == GHOST],
        "d": table[(table["metric"] == ERROR) & table["tiles"].notna()],
        "e": of_curve,
        "f": table[table["metric"] == COVERAGE],
    }
    keys, numbers = ["panel", "estimator", "metric", "references", "tiles", "steps"], ["value", "low", "high", "n"]
    points = pd.concat([part.assign(panel=panel) for panel, part in parts.items() if len(part)])
    points = points.reindex(columns=[*keys, *numbers])
    points = points.groupby(keys, dropna=False, sort=False)[numbers].mean().reset_index()
    bins = pd.DataFrame({"spread": examples["spread_bins"], "value": examples["error_bins"]})
    bins = bins.assign(panel="f", estimator="corrected", metric=ERROR)
    rows = pd.concat([part for part in (points, bins) if len(part)])
    places = {name: place for place, name in enumerate(registry.ordered(rows["estimator"]))}
    rows = rows.assign(place=rows["estimator"].map(places)).sort_values(["panel", "place"], kind="stable")
    return rows.reindex(columns=COLUMNS).reset_index(drop=True)


def draw(table: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a examples, b errors, c ghosting, d errors against tiles, e against steps, f against uncertainty."""
    rows = len(examples["names"])
    figure = new_figure(PAGE_MM, 118.0 + 21.0 * rows)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[14.0 + 21.0 * rows, 58.0, 46.0])
    _draw_examples(top, examples)
    errors, ghosts = middle.subplots(1, 2, sharey=True, width_ratios=[1.2, 1.0])
    by_tiles, by_steps, spread = bottom.subplots(1, 3)
    points = {panel: table[table["panel"] == panel] for panel in "bcdef"}
    _draw_scores(errors, points["b"], registry, "RMSE of the optical density\nup to a constant (1)")
    _draw_scores(ghosts, points["c"], registry, "correlation of the background's error\nwith the specimen (1)")
    ghosts.axvline(0, color="0.7", linewidth=0.6, zorder=0)
    _draw_by_tiles(by_tiles, points["d"], registry)
    _draw_curves(by_steps, points["e"], "steps", 10, registry)
    by_steps.set(xlabel="steps of the sampler", ylim=(0, None))
    _draw_spread(spread, points["f"])
    for axis, text in zip((errors, ghosts, by_tiles, by_steps, spread), points, strict=True):
        letter(axis, text)
    return figure


def _draw_examples(figure: SubFigure, examples: Mapping[str, np.ndarray]) -> None:
    """One row per tile: raw, true density, estimates, and error and uncertainty of the last estimate."""
    names = examples["estimators"].tolist()
    pictured = [name for name in PICTURED if name in names] or names[-1:]
    ours = pictured[-1]
    columns = {"raw": (examples["raw"], RAW), "truth": (examples["truth"], DENSITIES)}
    columns |= {name: (examples["estimated"][names.index(name)], DENSITIES) for name in pictured}
    columns[f"error of\n{ours}"] = (examples["errors"][names.index(ours)], ERRORS)
    columns[f"uncertainty of\n{ours}"] = (examples["spread"], SPREADS)
    axes = figure.subplots(len(examples["names"]), len(columns), squeeze=False)
    for column, (title, (images, options)) in zip(axes.T, columns.items(), strict=True):
        column[0].set_title(title)
        for axis, image in zip(column, images, strict=True):
            axis.imshow(image, **options)
    for axis, name in zip(axes[:, 0], examples["names"], strict=True):
        axis.set_ylabel(name.replace(", ", "\n"))
    without_ticks(axes)
    bars = {"of the median": axes[:, 0], "optical density (1)": axes[:, 1:-2], "error (1)": axes[:, -2]}
    for label, group in (bars | {"spread (1)": axes[:, -1]}).items():
        aspect = 10 if group.ndim == 1 else 60
        drawn = group.flat[0].images[0]
        figure.colorbar(drawn, ax=group, label=label, aspect=aspect, location="bottom", shrink=0.9, pad=0.02)
    letter(axes[0, 0], "a")


def _draw_scores(axis: Axes, points: pd.DataFrame, registry: Registry, label: str) -> None:
    """Estimators one below the other; lower hollow markers: references of an earlier session."""
    names = registry.ordered(points["estimator"])
    for place, name in enumerate(names):
        for _, point in points[points["estimator"] == name].iterrows():
            looks, height = registry[name].looks, float(place)
            if point["references"] == "earlier":
                looks, height = looks | {"markerfacecolor": "white"}, place + 0.3
            if np.isfinite(point["low"]):
                axis.plot([point["low"], point["high"]], [height, height], color=looks["color"], linewidth=1.0)
            axis.plot(point["value"], height, linestyle="none", **looks)
    axis.set(xlabel=label, ylim=(len(names) - 0.4, -0.6))
    axis.set_yticks(range(len(names)), labels=names)
    if len(points) and points["value"].min() > 0 and points["value"].max() > 5 * points["value"].min():
        _logarithmic(axis, "x")
    lower = "; lower mark: earlier references" if (points["references"] == "earlier").any() else ""
    axis.set_title(_sessions(points["n"]) + lower, loc="left")


def _draw_by_tiles(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    """Every estimator as a curve, or as a point if it uses a fixed number of tiles; lines join those of one kind."""
    shown = points[points["estimator"] != "zeros"]
    for kind in SETS:
        line = shown[shown["estimator"].str.startswith(f"{kind}_")].sort_values("tiles")
        axis.plot(line["tiles"], line["value"], color="0.8", linewidth=0.8, zorder=0)
    _draw_curves(axis, shown, "tiles", 2, registry)
    _logarithmic(axis, "y")
    axis.set_xlabel("tiles of the set")


def _draw_curves(axis: Axes, points: pd.DataFrame, along: str, base: int, registry: Registry) -> None:
    """The error of every estimator against the column `along`, logarithmic with a tick at each of its values."""
    for name, line in points.groupby("estimator", sort=False):
        line = line.sort_values(along)
        reach = np.array([line["value"] - line["low"], line["high"] - line["value"]])
        axis.errorbar(line[along], line["value"], yerr=reach, capsize=1.5, **registry[name].looks)
    if len(points):
        ticks = sorted(points[along].unique())
        axis.set_xscale("log", base=base)
        axis.set_xticks(ticks, labels=[f"{number:g}" for number in ticks])
        axis.minorticks_off()
    axis.set_ylabel("RMSE up to a constant (1)")
    axis.set_title(_sessions(points["n"]), loc="left")


def _draw_spread(axis: Axes, points: pd.DataFrame) -> None:
    """RMS error against estimated uncertainty; they are equal on the diagonal."""
    bins = points[points["spread"].notna()]
    coverage = points[(points["metric"] == COVERAGE) & (points["tiles"] == 2) & (points["estimator"] == "corrected")]
    if len(bins):
        largest = 1.05 * max(bins["spread"].max(), bins["value"].max())
        axis.plot([0, largest], [0, largest], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        axis.plot(bins["spread"], bins["value"], color=BLUE, marker="o")
        axis.set(xlim=(0, largest), ylim=(0, largest))
        axis.locator_params(nbins=5)
    if len(coverage):
        share = coverage["value"].iloc[0]
        axis.set_title(f"±1 spread holds {share:.0%} (nominal {NOMINAL_COVERAGE:.0%})", loc="left")
    axis.set(xlabel="uncertainty of corrected (1)", ylabel="RMS error (1)")


def _logarithmic(axis: Axes, which: str) -> None:
    """Make the axis `which` logarithmic with plain numbers, also between decades if these are few.

    It stays linear if its limits are within a factor of 3.
    """
    low, high = sorted(getattr(axis, f"get_{which}lim")())
    if 0 < high < 3 * low:
        return
    getattr(axis, f"set_{which}scale")("log")
    direction = getattr(axis, f"{which}axis")
    direction.set_major_formatter("{x:g}")
    low, high = sorted(getattr(axis, f"get_{which}lim")())
    if high < 30 * low:
        direction.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
        axis.tick_params(axis=which, which="minor", labelsize=5)
    else:
        direction.set_minor_formatter("")


def _sessions(counts: pd.Series) -> str:
    """Number of sessions behind the points of a panel."""
    numbers = sorted({int(number) for number in counts.dropna()})
    return f"n = {' to '.join(map(str, dict.fromkeys([numbers[0], numbers[-1]])))} sessions" if numbers else ""


if __name__ == "__main__":
    Command(
        plot,
        Plot,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Example images of the stage evaluate (.npz).",
            "estimators": "Registry of the estimators: their order, colours and markers (estimators.yaml).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The data of its curves.",
        },
    ).main()
