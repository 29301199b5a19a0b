"""The figure of the background: examples, errors and ghosts of all estimators, tiles, steps, uncertainty."""

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
# What stands beside the truth as pictures
PICTURED = ("gaussian", "median_2", "unet", "published", "corrected")
ERROR, GHOST, COVERAGE = "od_rmse_up_to_constant", "ghosting_correlation", "spread_coverage"
MEDIANS = ("median_2", "median_4", "median_16")
NOMINAL_COVERAGE = 0.68
COLUMNS = ["panel", "estimator", "metric", "references", "tiles", "steps", "spread", "value", "low", "high", "n"]
# Optical densities and their errors have the same limits in every picture
DENSITY_LIMITS, ERROR_LIMIT, SPREAD_LIMIT = (-0.2, 1.2), 0.2, 0.2


def plot(job: Job[Plot]) -> None:
    """Write the figure in three formats and the table of its points."""
    registry, examples = read_registry(job.input("estimators")), read_arrays(job.input("examples"), EXAMPLES)
    points = source_table(read_metrics(job.input("metrics")), examples, registry)
    with style():
        # The four files of a figure share their stem.
        save_figure(draw(points, examples, registry), points, job.outputs["svg"].with_suffix(""))


def source_table(metrics: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> pd.DataFrame:
    """All points of panels b to f, seeds averaged, estimators in the order of the registry.

    Returns:
        columns `COLUMNS`; panels b (error) and c (ghosting) at the headline, eigen flats of earlier references beside
        those of the same session; d errors by number of tiles; e by number of steps; f error by spread, and coverage.
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
    keys = ["estimator", "metric", "references", "tiles", "steps"]
    tables = []
    for panel, chosen in parts.items():
        groups = chosen.reindex(columns=[*keys, "value", "low", "high", "n"]).groupby(keys, dropna=False, sort=False)
        tables.append(groups[["value", "low", "high", "n"]].mean().reset_index().assign(panel=panel))
    bins = {"spread": examples["spread_bins"], "value": examples["error_bins"]}
    tables.append(pd.DataFrame(bins).assign(panel="f", estimator="corrected", metric=ERROR))
    rows = pd.concat([part for part in tables if len(part)])
    places = {name: place for place, name in enumerate(registry.ordered(rows["estimator"]))}
    rows = rows.assign(place=rows["estimator"].map(places)).sort_values(["panel", "place"], kind="stable")
    return rows.reindex(columns=COLUMNS).reset_index(drop=True)


def draw(table: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a examples, b errors, c ghosting, d by tiles, e by steps, f uncertainty against error."""
    rows = len(examples["names"])
    figure = new_figure(PAGE_MM, 108.0 + 21.0 * rows)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[14.0 + 21.0 * rows, 48.0, 46.0])
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
    """One row for each tile: raw, true density, estimates, the error of the last of them, and its uncertainty."""
    names = examples["estimators"].tolist()
    pictured = [name for name in PICTURED if name in names]
    ours = pictured[-1] if pictured else None
    titles = ["raw", "truth", *pictured, *([f"error of\n{ours}", f"uncertainty of\n{ours}"] if ours else [])]
    axes = figure.subplots(len(examples["names"]), len(titles), squeeze=False)
    low, high = DENSITY_LIMITS
    for row, line in enumerate(axes):
        raw = line[0].imshow(examples["raw"][row], vmin=0, vmax=2)
        line[0].set_ylabel(examples["names"][row].replace(", ", "\n"))
        densities = [examples["truth"][row], *(examples["estimated"][names.index(name), row] for name in pictured)]
        for axis, density in zip(line[1:], densities, strict=False):
            shown = axis.imshow(density, vmin=low, vmax=high, cmap="magma")
        if ours:
            error = examples["errors"][names.index(ours), row]
            wrong = line[-2].imshow(error, vmin=-ERROR_LIMIT, vmax=ERROR_LIMIT, cmap="RdBu_r")
            unsure = line[-1].imshow(examples["spread"][row], vmin=0, vmax=SPREAD_LIMIT, cmap="viridis")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    without_ticks(axes)
    bar = {"location": "bottom", "shrink": 0.9, "pad": 0.02}
    figure.colorbar(raw, ax=axes[:, 0], label="of the median", aspect=10, **bar)
    figure.colorbar(shown, ax=axes[:, 1 : 2 + len(pictured)], label="optical density (1)", aspect=60, **bar)
    if ours:
        figure.colorbar(wrong, ax=axes[:, -2], label="error (1)", aspect=10, **bar)
        figure.colorbar(unsure, ax=axes[:, -1], label="spread (1)", aspect=10, **bar)
    letter(axes[0, 0], "a")


def _draw_scores(axis: Axes, points: pd.DataFrame, registry: Registry, label: str) -> None:
    """Estimators one below the other; hollow and lower those with references of an earlier session."""
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
    """Every estimator as a curve, or as a point where it takes one number of tiles; the medians joined."""
    shown = points[points["estimator"] != "zeros"]
    medians = shown[shown["estimator"].isin(MEDIANS)].sort_values("tiles")
    axis.plot(medians["tiles"], medians["value"], color="0.8", linewidth=0.8, zorder=0)
    _draw_curves(axis, shown, "tiles", 2, registry)
    _logarithmic(axis, "y")
    axis.set_xlabel("tiles of the set")


def _draw_curves(axis: Axes, points: pd.DataFrame, along: str, base: int, registry: Registry) -> None:
    """The error of every estimator along a logarithmic abscissa that has a tick at every number of the points."""
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
    """RMS error against stated uncertainty; on the diagonal they are equal."""
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
    """A logarithmic axis whose numbers are written out, also between the decades where these are few; where the values
    are within a factor of 3 it stays linear."""
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
            "estimators": "The registry of estimators, estimators.yaml.",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
        },
    ).main()
