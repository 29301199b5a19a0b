"""How the figure of the potential looks: examples, correlations and errors of all estimators, dose and thickness."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.potential.networks.variants import ARMS
from workflow_scripts.study.conditions import parse_condition, with_condition_columns
from workflow_scripts.study.estimators import Registry
from workflow_scripts.study.figures import PAGE_MM, letter, new_figure, scale_bar, without_ticks
from workflow_scripts.study.tables import HEADLINE, under

SCORES = {
    "pearson": "Pearson correlation",
    "pearson_highpass_1.2A": "Pearson, periods < 1.2 Å",
    "mae_volt_angstrom": "mean absolute error (V Å)",
}
CURVE = "pearson_highpass_1.2A"
CONDITION_TEXT = ("detector", "kind", "materials", "material", "stage", "metadata", "fault")
CONDITION_NUMBERS = ("dose_e_per_a2", "thickness_nm", "thickness_max_nm")
COLUMNS = ["panel", "estimator", "metric", "materials", "dose_e_per_a2", "thickness_nm", "value", "low", "high", "n"]


def source_table(metrics: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """All points of panels b to d, averaged over the seeds.

    Args:
        metrics: as `study.tables.read_metrics` returns it.
        registry: for the order of the estimators.

    Returns:
        columns `COLUMNS`; panel b is the headline, and beside it the same of the held-out material (`materials` is
        `unseen`), which a network is asked about before it is finetuned on it; c the doses, d the thicknesses.
    """
    headline = parse_condition(under(metrics, HEADLINE)["condition"].iloc[0])
    table = with_condition_columns(metrics, CONDITION_TEXT, CONDITION_NUMBERS)
    plain = (
        (table["detector"] == "ring")
        & (table["kind"] == "filled")
        & table[["metadata", "fault", "material"]].isna().all(axis=1)
    )
    last = table["stage"].isna()
    # A network with stages has not seen the held-out material before it is finetuned.
    staged = set(table.loc[table["stage"].notna(), "estimator"])
    before = (table["stage"] == "pretrain") | (last & ~table["estimator"].isin(staged))
    # No material is held out from an arm that splits by sample.
    before &= ~table["estimator"].isin([name for name, variant in ARMS.items() if variant.split_by_sample])
    at_stage = ((table["materials"] == "seen") & last) | ((table["materials"] == "unseen") & before)
    at_dose = table["dose_e_per_a2"] == float(headline["dose_e_per_a2"])
    up_to = table["thickness_max_nm"] == float(headline["thickness_max_nm"])
    parts = {
        "b": plain & at_stage & up_to & at_dose & table["metric"].isin(SCORES),
        "c": plain & last & up_to & (table["materials"] == "seen") & (table["metric"] == CURVE),
        "d": plain & last & table["thickness_nm"].notna() & (table["materials"] == "seen") & (table["metric"] == CURVE),
    }
    keys = ["estimator", "metric", "materials", "dose_e_per_a2", "thickness_nm"]
    points = []
    for panel, chosen in parts.items():
        groups = table[chosen].groupby(keys, dropna=False, sort=False)[["value", "low", "high", "n"]]
        points.append(groups.mean().reset_index().assign(panel=panel))
    return in_order(pd.concat(points), registry)[COLUMNS].reset_index(drop=True)


def in_order(points: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """The points by panel, in each of them in the order of the registry, in which unknown estimators come last."""
    place = points["estimator"].map(registry.places())
    return points.assign(place=place).sort_values(["panel", "place"], kind="stable")


def draw(table: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a examples, b scores of all estimators, c by dose, d by thickness.

    Args:
        table: from `source_table`.
        examples: from the stage evaluate, see `comparison.example_images`.
        registry: of the estimators, for their order, colours and markers.
    """
    rows = len(examples["names"])
    figure = new_figure(PAGE_MM, 78.0 + 26.0 * rows)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[26.0 * rows, 40.0, 45.0])
    _draw_examples(top, examples, registry)
    _draw_scores(middle, table[table["panel"] == "b"], registry)
    by_dose, by_thickness = bottom.subplots(1, 2)
    _draw_curves(by_dose, table[table["panel"] == "c"], "dose_e_per_a2", registry)
    by_dose.set(xlabel="dose (e⁻/Å²)", ylabel=SCORES[CURVE])
    letter(by_dose, "c")
    _draw_curves(by_thickness, table[table["panel"] == "d"], "thickness_nm", registry)
    by_thickness.set(xlabel="thickness (nm)", ylabel=SCORES[CURVE])
    letter(by_thickness, "d")
    handles, labels = by_dose.get_legend_handles_labels()
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
    without_ticks(axes)
    scale_bar(axes[0, 0], float(examples["pixel_size_a"]))
    letter(axes[0, 0], "a")


def _draw_scores(figure: SubFigure, points: pd.DataFrame, registry: Registry) -> None:
    """An axis for each score: a line for each estimator, filled marks for seen materials, hollow for the unseen one."""
    names = registry.ordered(points["estimator"])
    axes = figure.subplots(1, len(SCORES), sharey=True)
    for axis, (metric, title) in zip(axes, SCORES.items(), strict=True):
        for materials, shift in (("seen", -0.17), ("unseen", 0.17)):
            chosen = points[(points["metric"] == metric) & (points["materials"] == materials)].set_index("estimator")
            for place, name in enumerate(names):
                if name not in chosen.index:
                    continue
                looks = registry[name].looks | ({"markerfacecolor": "white"} if materials == "unseen" else {})
                _with_interval(axis, chosen.loc[name], place + shift, looks)
        axis.set(xlabel=title, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        values = points.loc[points["metric"] == metric, "value"]
        if values.min() > 0 and values.max() > 10 * values.min():
            axis.set_xscale("log")  # an estimator far off leaves room for the others
        else:
            axis.axvline(0, color="0.7", linewidth=0.6)
    counts = points.groupby("materials")["n"].min().astype(int)
    crystals = ", ".join(f"{materials}: n = {count}" for materials, count in counts.items())
    axes[0].set_title(f"filled seen, hollow unseen ({crystals} crystals)", loc="left")
    letter(axes[0], "b")


def _with_interval(axis: Axes, point: pd.Series, height: float, looks: Mapping[str, str]) -> None:
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
