"""The figures of the projected potential, drawn from the tables and images of the stage evaluate.

The first shows examples, correlations and errors of all estimators, dose and thickness; the second the PSNR
on the recipe's scale and on that of the truth, and how wide a field of view and how fine a pixel the images need.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.potential.settings import ARMS, Plot
from workflow_scripts.study import figures
from workflow_scripts.study.conditions import parse_condition, with_condition_columns
from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.tables import HEADLINE, read_metrics, under
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_all_arrays

SCORES = {
    "pearson": "Pearson correlation",
    "pearson_highpass_1.2A": "Pearson, periods < 1.2 Å",
    "mae_volt_angstrom": "mean absolute error (V Å)",
}
CURVE = "pearson_highpass_1.2A"
CONDITION_TEXT = ("detector", "kind", "materials", "material", "stage", "metadata", "fault")
# Keys of controls and test conditions, which stand in the tables alone
CONTROLS = ("tilt_deg", "thickness_error_percent", "defocus_a", "source_size_a")
CONDITION_NUMBERS = ("dose_e_per_a2", "thickness_nm", "thickness_max_nm", *CONTROLS)
SCORE_COLUMNS = [
    *("panel", "estimator", "metric", "materials", "dose_e_per_a2", "thickness_nm"),
    *("value", "low", "high", "n"),
]

STATED_DB = 54.46
STATED_PEARSON = 0.72
PUBLISHED_FIELD_A, PUBLISHED_PIXEL_A = 25.6, 0.1
RECIPE_DB, HONEST_DB = "psnr_db_range_600000", "psnr_db_range_gt"
SCALE_COLUMNS = [
    *("panel", "estimator", "metric", "detector", "thickness_nm", "field_a", "pixel_a", "cone_a"),
    *("value", "low", "high", "n"),
]


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write both figures in three formats and the tables of their curves."""
    metrics = read_metrics(job.input("metrics"))
    examples = read_all_arrays(job.input("examples"))
    registry = read_registry(job.input("estimators"))
    scores = score_points(metrics, registry)
    scales = scale_points(metrics, pd.read_csv(job.input("cells")), registry)
    with figures.style():
        # The four files of a figure share their stem.
        figures.save_figure(draw_scores(scores, examples, registry), scores, job.outputs["svg"].with_suffix(""))
        figures.save_figure(draw_scales(scales, registry), scales, job.outputs["scale_svg"].with_suffix(""))


def score_points(metrics: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """All points of panels b to d, averaged over the seeds.

    Args:
        metrics: as `study.tables.read_metrics` returns it.
        registry: for the order of the estimators.

    Returns:
        columns `SCORE_COLUMNS`; panel b is the headline, and the same metrics of the held-out material (`materials`
        is `unseen`), predicted before a network is finetuned on it; c the doses, d the thicknesses.
    """
    headline = parse_condition(under(metrics, HEADLINE)["condition"].iloc[0])
    table = with_condition_columns(metrics, CONDITION_TEXT, CONDITION_NUMBERS)
    plain = (
        (table["detector"] == "ring")
        & (table["kind"] == "filled")
        & table[["metadata", "fault", "material", *CONTROLS]].isna().all(axis=1)
    )
    last = table["stage"].isna()
    # Before it is finetuned a network has not been trained on the held-out material.
    staged = set(table.loc[table["stage"].notna(), "estimator"])
    before = (table["stage"] == "pretrain") | (last & ~table["estimator"].isin(staged))
    # No material is held out from an arm that splits by sample.
    before &= ~table["estimator"].isin([name for name, variant in ARMS.items() if variant.split_by_sample])
    at_stage = ((table["materials"] == "seen") & last) | ((table["materials"] == "unseen") & before)
    at_dose = table["dose_e_per_a2"] == float(headline["dose_e_per_a2"])
    up_to = table["thickness_max_nm"] == float(headline["thickness_max_nm"])
    several_doses = table.groupby("estimator")["dose_e_per_a2"].transform("nunique") > 1  # not lattice averages
    parts = {
        "b": plain & at_stage & up_to & at_dose & table["metric"].isin(SCORES),
        "c": plain & last & several_doses & up_to & (table["materials"] == "seen") & (table["metric"] == CURVE),
        "d": plain & last & table["thickness_nm"].notna() & (table["materials"] == "seen") & (table["metric"] == CURVE),
    }
    keys = ["estimator", "metric", "materials", "dose_e_per_a2", "thickness_nm"]
    points = []
    for panel, chosen in parts.items():
        groups = table[chosen].groupby(keys, dropna=False, sort=False)[["value", "low", "high", "n"]]
        points.append(groups.mean().reset_index().assign(panel=panel))
    return _in_order(pd.concat(points), registry)[SCORE_COLUMNS].reset_index(drop=True)


def _in_order(points: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """The points sorted by panel, then in the order of the registry; unknown estimators come last."""
    place = points["estimator"].map(registry.places())
    return points.assign(place=place).sort_values(["panel", "place"], kind="stable")


def draw_scores(table: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a examples, b scores of all estimators, c by dose, d by thickness.

    Args:
        table: from `score_points`.
        examples: from the stage evaluate, see `comparison.example_images`.
        registry: of the estimators, for their order, colours and markers.
    """
    rows = len(examples["names"])
    figure = figures.new_figure(figures.PAGE_MM, 88.0 + 26.0 * rows)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[26.0 * rows, 50.0, 45.0])
    _draw_examples(top, examples, registry)
    _draw_score_panel(middle, table[table["panel"] == "b"], registry)
    curves = (("c", "dose_e_per_a2", "dose (e⁻/Å²)"), ("d", "thickness_nm", "thickness (nm)"))
    axes = bottom.subplots(1, 2)
    for axis, (panel, along, label) in zip(axes, curves, strict=True):
        _draw_curves(axis, table[table["panel"] == panel], along, registry)
        axis.set(xlabel=label, ylabel=SCORES[CURVE])
        figures.letter(axis, panel)
    handles, labels = axes[0].get_legend_handles_labels()
    bottom.legend(handles, labels, loc="outside right center")
    return figure


def _draw_examples(figure: SubFigure, examples: Mapping[str, np.ndarray], registry: Registry) -> None:
    """A row for each sample; potentials of a row share a scale, that of the truth from 0 to its 99.8th percentile.

    Trivial estimators are left out: their images are flat.
    """
    names = examples["estimators"].tolist()
    training = {name: "trained on it" if arm.split_by_sample else "finetuned on a few" for name, arm in ARMS.items()}
    order = [names.index(name) for name in registry.ordered(names) if registry[name].kind != "trivial"]
    axes = figure.subplots(len(examples["names"]), 2 + len(order), squeeze=False)
    for row, (line, name) in enumerate(zip(axes, examples["names"].tolist(), strict=True)):
        line[0].imshow(examples["sums"][row])
        line[0].set_ylabel(name.replace(", ", "\n", 1))
        potentials = [examples["truth"][row], *examples["predicted"][order, row]]
        highest = np.percentile(examples["truth"][row], 99.8) / 1e3
        for axis, potential in zip(line[1:], potentials, strict=True):
            shown = axis.imshow(potential / 1e3, vmin=0, vmax=highest, cmap="magma")
        figure.colorbar(shown, ax=line[-1], label="kV Å")
        if ", held out, " in name:
            for axis, place in zip(line[2:], order, strict=True):
                axis.set_xlabel(training.get(names[place], ""), fontsize=6, labelpad=2)
    titles = ["Σ segments", "true potential", *(names[place] for place in order)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figures.without_ticks(axes)
    figures.scale_bar(axes[0, 0], float(examples["pixel_size_a"]))
    figures.letter(axes[0, 0], "a")


def _draw_score_panel(figure: SubFigure, points: pd.DataFrame, registry: Registry) -> None:
    """An axis for each score, a line for each estimator; filled marks for seen materials, hollow for the unseen one."""
    names = registry.ordered(points["estimator"])
    axes = figure.subplots(1, len(SCORES), sharey=True)
    for axis, (metric, title) in zip(axes, SCORES.items(), strict=True):
        for materials, shift in (("seen", -0.17), ("unseen", 0.17)):
            chosen = points[(points["metric"] == metric) & (points["materials"] == materials)].set_index("estimator")
            for place, name in enumerate(names):
                if name not in chosen.index:
                    continue
                looks = registry[name].looks | ({"markerfacecolor": "white"} if materials == "unseen" else {})
                _draw_interval(axis, chosen.loc[name], place + shift, looks)
        axis.set(xlabel=title, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        values = points.loc[points["metric"] == metric, "value"]
        if values.min() > 0 and values.max() > 10 * values.min():
            axis.set_xscale("log")  # an outlier leaves room for the other estimators
        else:
            axis.axvline(0, color="0.7", linewidth=0.6)
    counts = points.groupby("materials")["n"].min().astype(int)
    crystals = ", ".join(f"{materials}: n = {count}" for materials, count in counts.items())
    axes[0].set_title(f"filled seen, hollow unseen ({crystals} crystals)", loc="left")
    figures.letter(axes[0], "b")


def _draw_interval(axis: Axes, point: pd.Series, height: float, looks: Mapping[str, str]) -> None:
    if np.isfinite(point["low"]):
        axis.plot([point["low"], point["high"]], [height, height], color=looks["color"], linewidth=1.0)
    axis.plot(point["value"], height, linestyle="none", **looks)


def _draw_curves(axis: Axes, points: pd.DataFrame, along: str, registry: Registry) -> None:
    """A curve with intervals for each estimator; images without noise stand at the right end of a dose axis."""
    finite = points[np.isfinite(points[along])]
    beyond = finite[along].max() * 10
    if along == "dose_e_per_a2":
        ticks = sorted(finite[along].unique())
        labels = [f"$10^{{{np.log10(dose):.3g}}}$" for dose in ticks]
        axis.set_xscale("log")
        axis.set_xticks([*ticks, beyond], labels=[*labels, "no noise"])
        axis.minorticks_off()
    for name, line in points.groupby("estimator", sort=False):
        line = line.sort_values(along)
        at = np.where(np.isfinite(line[along]), line[along], beyond)
        reach = np.array([line["value"] - line["low"], line["high"] - line["value"]])
        axis.errorbar(at, line["value"], yerr=reach, label=name, capsize=1.5, **registry[name].looks)
    counts = points["n"].astype(int)
    axis.set_title(f"n = {counts.min()} crystals" if counts.min() == counts.max() else f"n ≥ {counts.min()} crystals")


def scale_points(metrics: pd.DataFrame, cells: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """All points of the figure: a and b the recipe's patches without noise, averaged over the seeds, c and d cells.

    Args:
        metrics: as `study.tables.read_metrics` returns it.
        cells: the errors of `convergence.field_errors` and `pixel_errors`.
        registry: for the order of the estimators.

    Returns:
        columns `SCALE_COLUMNS`; panels a (PSNR on both scales), b (Pearson), c and d (error in percent of the image's
        contrast by field of view and by pixel).
    """
    table = with_condition_columns(metrics, CONDITION_TEXT, CONDITION_NUMBERS)
    chosen = table[
        (table["kind"] == "patch")
        & (table["materials"] == "all")
        & (table["detector"] == "ring")
        & np.isinf(table["dose_e_per_a2"])
        & table["metric"].isin([RECIPE_DB, HONEST_DB, "pearson"])
        & table[["stage", "metadata", "fault", *CONTROLS]].isna().all(axis=1)
    ]
    points = chosen.groupby(["estimator", "metric"], sort=False)[["value", "low", "high", "n"]].mean().reset_index()
    points["panel"] = np.where(points["metric"] == "pearson", "b", "a")
    curves = cells.rename(columns={"error_percent_of_contrast": "value"}).assign(metric="cell_error_percent")
    curves["panel"] = np.where(curves["sweep"] == "field", "c", "d")
    return pd.concat([_in_order(points, registry), curves]).reindex(columns=SCALE_COLUMNS).reset_index(drop=True)


def draw_scales(table: pd.DataFrame, registry: Registry) -> Figure:
    """The figure: a PSNR on both scales, b Pearson of the same predictions, c, d error by field of view and by pixel.

    Args:
        table: from `scale_points`.
        registry: of the estimators, for their order, colours and markers.
    """
    figure = figures.new_figure(figures.PAGE_MM, 120.0)
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.2, 1.0])
    scales, pearson = top.subplots(1, 2, width_ratios=[1.5, 1.0])
    _draw_psnr(scales, table[table["panel"] == "a"], registry)
    _draw_pearson(pearson, table[table["panel"] == "b"], registry)
    field, pixel = bottom.subplots(1, 2)
    _draw_errors(field, table[table["panel"] == "c"], "field_a")
    field.plot([], [], marker="|", markersize=8, color="0.4", linestyle="none", label="beam fills the field")
    _mark(field, PUBLISHED_FIELD_A, "the recipe's cell ", "right")
    field.set(xlabel="field of view (Å)")
    _draw_errors(pixel, table[table["panel"] == "d"], "pixel_a")
    _mark(pixel, PUBLISHED_PIXEL_A, " the recipe's pixel", "left")
    pixel.set(xlabel="pixel of the multislice (Å)")
    for axis, panel, corner in ((field, "c", "upper right"), (pixel, "d", "upper left")):
        axis.set(ylabel="error of the image (% of its contrast)")
        axis.legend(loc=corner)
        figures.letter(axis, panel)
    return figure


def _draw_psnr(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    """The same errors on both scales: hollow on the recipe's, filled on that of each truth's own peak."""
    names = registry.ordered(points["estimator"])
    column = max([STATED_DB, *points.loc[points["metric"] == RECIPE_DB, "value"]])  # labels right of it cross no line
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
    _mark_stated(axis, STATED_DB, f" stated {STATED_DB}", "left")
    axis.set(xlabel="PSNR (dB), range: own peak (filled)\nor 600,000 V Å (hollow)", ylim=(len(names) - 0.5, -0.8))
    axis.set_yticks(range(len(names)), labels=names)
    axis.margins(x=0.12)
    axis.set_title(f"recipe's patches, n = {int(points['n'].min())}" if len(points) else "")
    figures.letter(axis, "a")


def _draw_pearson(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    names = registry.ordered(points["estimator"])
    for place, name in enumerate(names):
        point = points[points["estimator"] == name].iloc[0]
        _draw_interval(axis, point, place, registry[name].looks)
    _mark_stated(axis, STATED_PEARSON, f"stated {STATED_PEARSON} ", "right")
    axis.set(xlabel="Pearson correlation\nof the same predictions", ylim=(len(names) - 0.5, -0.8), yticks=[])
    axis.set_xlim(min(-0.05, points["value"].min() - 0.05), 1.03)
    figures.letter(axis, "b")


def _draw_errors(axis: Axes, points: pd.DataFrame, along: str) -> None:
    """A curve for each thickness, of the recipe's ring; where the beam's cone fills the field of view it has a tick."""
    looks = [(figures.BLUE, "o"), (figures.BLACK, "s"), (figures.VERMILLION, "^"), (figures.GREY, "D")]
    for number, (thickness, line) in enumerate(points[points["detector"] == "ring"].groupby("thickness_nm")):
        line = line.sort_values(along)
        colour, marker = looks[number % len(looks)]
        axis.plot(line[along], line["value"], color=colour, marker=marker, label=f"{thickness:g} nm")
        cone = float(line["cone_a"].iloc[0])
        if along == "field_a" and line[along].min() <= cone <= line[along].max():
            error = np.exp(np.interp(cone, line[along], np.log(np.maximum(line["value"], 1e-6))))
            axis.plot(cone, error, marker="|", markersize=14, markeredgewidth=1.5, color=colour, linestyle="none")
    figures.log_ordinate(axis)


def _mark_stated(axis: Axes, value: float, text: str, side: str) -> None:
    axis.axvline(value, color=figures.VERMILLION, linewidth=0.8, linestyle=":")
    axis.text(value, -0.72, text, color=figures.VERMILLION, ha=side, va="top", fontsize=6)


def _mark(axis: Axes, place: float, text: str, side: str) -> None:
    axis.axvline(place, color="0.5", linewidth=0.8, linestyle=":")
    axis.text(place, 0.02, text, transform=axis.get_xaxis_transform(), fontsize=6, color="0.4", ha=side)


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Example images of the stage evaluate (.npz).",
            "cells": "Error of the images by field of view, of the stage evaluate (.csv).",
            "estimators": "The method's estimators.yaml.",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
            "scale_svg": "The figure of the scales and the cell.",
            "scale_pdf": "The figure of the scales and the cell, with its fonts.",
            "scale_png": "The figure of the scales and the cell, 300 dpi.",
            "scale_csv": "The table behind its curves.",
        },
    ).main()
