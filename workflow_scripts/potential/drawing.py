"""How the figure of the potential looks: examples, correlations and errors of all estimators, dose and thickness."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.potential.variants import ARMS
from workflow_scripts.study.figures import PAGE_MM, estimator_style, letter, new_figure, scale_bar, without_ticks
from workflow_scripts.study.tables import HEADLINE
from workflow_scripts.workflow.files import read_arrays

EXAMPLES = (
    *("estimators", "names", "sums", "truth", "predicted", "pixel_size_a"),
    *("headline_dose_e_per_a2", "headline_thickness_nm"),
)
# In this order everywhere, from what needs no image to what is ours
ORDER = ("zeros", "metadata_mean", "icom", "ridge", "unet", "published", "corrected")
SCORES = {
    "pearson": "Pearson correlation",
    "pearson_highpass_1.2A": "Pearson, periods < 1.2 Å",
    "mae_volt_angstrom": "mean absolute error (V Å)",
}
CURVE = "pearson_highpass_1.2A"
CONDITION_TEXT = ("detector", "kind", "materials", "material", "stage", "metadata", "fault")
CONDITION_NUMBERS = ("dose_e_per_a2", "thickness_nm", "thickness_max_nm")
COLUMNS = ["panel", "estimator", "metric", "materials", "dose_e_per_a2", "thickness_nm", "value", "low", "high", "n"]
# A crystal that fills the view shows little but itself when the estimator answers nothing
_FLAT = ("zeros", "metadata_mean")


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """What panel a shows, and the dose and largest thickness of the headline."""
    return read_arrays(path, EXAMPLES)


def with_conditions(metrics: pd.DataFrame) -> pd.DataFrame:
    """The table with a column for every key of the conditions, numbers as numbers; the headline, named twice, once."""
    table = metrics[metrics["condition"] != HEADLINE].reset_index(drop=True)
    keys = [dict(pair.split("=") for pair in text.split(";")) for text in table["condition"]]
    found = pd.DataFrame(keys).reindex(columns=[*CONDITION_TEXT, *CONDITION_NUMBERS])
    for key in CONDITION_NUMBERS:
        found[key] = found[key].astype(float)
    return pd.concat([table, found], axis=1)


def source_table(metrics: pd.DataFrame, dose_e_per_a2: float, thickness_max_nm: float) -> pd.DataFrame:
    """All points of panels b to d, seeds averaged.

    Args:
        dose_e_per_a2, thickness_max_nm: of the headline.

    Returns:
        columns `COLUMNS`; panel b is the headline and its companion of the held-out material, where a
        network answers as it was before it saw any (`materials` is `unseen`); c the doses, d the thicknesses.
    """
    table = with_conditions(metrics)
    plain = (
        (table["detector"] == "ring")
        & (table["kind"] == "filled")
        & table[["metadata", "fault", "material"]].isna().all(axis=1)
    )
    last = table["stage"].isna()
    # The held-out material is unseen by a network with stages only before it is finetuned
    staged = set(table.loc[table["stage"].notna(), "estimator"])
    before = (table["stage"] == "pretrain") | (last & ~table["estimator"].isin(staged))
    # No material is held out from an arm that splits by sample
    held_out = ~table["estimator"].isin([name for name, variant in ARMS.items() if variant.split_by_sample])
    before &= held_out
    at_stage = ((table["materials"] == "seen") & last) | ((table["materials"] == "unseen") & before)
    up_to = table["thickness_max_nm"] == thickness_max_nm
    parts = {
        "b": plain & at_stage & up_to & (table["dose_e_per_a2"] == dose_e_per_a2) & table["metric"].isin(SCORES),
        "c": plain & last & up_to & (table["materials"] == "seen") & (table["metric"] == CURVE),
        "d": plain & last & table["thickness_nm"].notna() & (table["materials"] == "seen") & (table["metric"] == CURVE),
    }
    keys = ["estimator", "metric", "materials", "dose_e_per_a2", "thickness_nm"]
    found = []
    for panel, chosen in parts.items():
        groups = table[chosen].groupby(keys, dropna=False, sort=False)[["value", "low", "high", "n"]]
        found.append(groups.mean().reset_index().assign(panel=panel))
    rows = pd.concat(found)
    place = rows["estimator"].map({name: index for index, name in enumerate(ORDER)})
    return rows.assign(place=place).sort_values(["panel", "place"], kind="stable")[COLUMNS].reset_index(drop=True)


def draw(table: pd.DataFrame, examples: Mapping[str, np.ndarray]) -> Figure:
    """The figure: a examples, b scores of all estimators, c by dose, d by thickness."""
    rows = len(examples["names"])
    figure = new_figure(PAGE_MM, 78.0 + 26.0 * rows)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[26.0 * rows, 40.0, 45.0])
    _draw_examples(top, examples)
    _draw_scores(middle, table[table["panel"] == "b"])
    by_dose, by_thickness = bottom.subplots(1, 2)
    _draw_curves(by_dose, table[table["panel"] == "c"], "dose_e_per_a2")
    by_dose.set(xlabel="dose (e⁻/Å²)", ylabel=SCORES[CURVE])
    letter(by_dose, "c")
    _draw_curves(by_thickness, table[table["panel"] == "d"], "thickness_nm")
    by_thickness.set(xlabel="thickness (nm)", ylabel=SCORES[CURVE])
    letter(by_thickness, "d")
    handles, labels = by_dose.get_legend_handles_labels()
    bottom.legend(handles, labels, loc="outside right center")
    return figure


def _draw_examples(figure: SubFigure, examples: Mapping[str, np.ndarray]) -> None:
    """One row for each sample; potentials of a row share a scale, that of the truth from 0 to its 99.8th percentile."""
    names = examples["estimators"].tolist()
    knew = {name: "trained on it" if arm.split_by_sample else "finetuned on a few" for name, arm in ARMS.items()}
    order = [names.index(name) for name in ORDER if name in names and name not in _FLAT]
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
                axis.set_xlabel(knew.get(names[place], ""), fontsize=6, labelpad=2)
    titles = ["Σ segments", "true potential", *(names[place] for place in order)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    without_ticks(axes)
    scale_bar(axes[0, 0], float(examples["pixel_size_a"]))
    letter(axes[0, 0], "a")


def _draw_scores(figure: SubFigure, points: pd.DataFrame) -> None:
    """For each score a panel: estimators along the axis; filled marks for materials seen, hollow for the one unseen."""
    names = [name for name in ORDER if name in set(points["estimator"])]
    axes = figure.subplots(1, len(SCORES), sharey=True)
    for axis, (metric, title) in zip(axes, SCORES.items(), strict=True):
        for materials, shift in (("seen", -0.17), ("unseen", 0.17)):
            chosen = points[(points["metric"] == metric) & (points["materials"] == materials)].set_index("estimator")
            for place, name in enumerate(names):
                if name not in chosen.index:
                    continue
                looks = estimator_style(name)
                if materials == "unseen":
                    looks |= {"markerfacecolor": "white"}
                _with_interval(axis, chosen.loc[name], place + shift, looks)
        axis.set(xlabel=title, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        values = points.loc[points["metric"] == metric, "value"]
        if values.min() > 0 and values.max() > 10 * values.min():
            axis.set_xscale("log")  # an estimator far off leaves room for the others
        else:
            axis.axvline(0, color="0.7", linewidth=0.6)
    counts = points.groupby("materials")["n"].min().astype(int)
    told = ", ".join(f"{materials}: n = {count}" for materials, count in counts.items())
    axes[0].set_title(f"filled seen, hollow unseen ({told} crystals)", loc="left")
    letter(axes[0], "b")


def _with_interval(axis: Axes, point: pd.Series, height: float, looks: Mapping[str, str]) -> None:
    if np.isfinite(point["low"]):
        axis.plot([point["low"], point["high"]], [height, height], color=looks["color"], linewidth=1.0)
    axis.plot(point["value"], height, linestyle="none", **looks)


def _draw_curves(axis: Axes, points: pd.DataFrame, along: str) -> None:
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
        axis.errorbar(at, line["value"], yerr=reach, label=name, capsize=1.5, **estimator_style(name))
    counts = points["n"].astype(int)
    axis.set_title(f"n = {counts.min()} crystals" if counts.min() == counts.max() else f"n ≥ {counts.min()} crystals")
