"""The figure of matching: predictions, top 5 by dose, misorientations, not indexed, the ablation, a map."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke

from workflow_scripts.matching.evaluation.orientation_colours import ColourKey
from workflow_scripts.matching.settings import SHORT, Plot, base_of
from workflow_scripts.study import figures
from workflow_scripts.study.conditions import with_condition_columns
from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_arrays

EXAMPLES = (
    *("shown", "query", "truth", "answer", "answer_deg", "estimators", "edges_deg", "misorientations", "floor"),
    *("roc_of", "false_share", "roc", "map_direction", "map_deg", "symmetry"),
    *("pixel_size_per_a", "headline_dose_e", "tolerance_deg"),
)
TOP5, EXPECTED, AUC = "top5_percent_by_class", "top5_percent_by_class_expected", "not_indexed_auc"
UNFAIR = "top5_percent_by_class_gain_of_unfair_pretraining"
COLUMNS = [
    *("panel", "estimator", "stage", "arm", "metric", "region", "dose_e", "misorientation_deg"),
    *("value", "low", "high", "n"),
]
TRUTH = "truth"


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write the figure in three formats and the table of its curves."""
    examples = read_arrays(job.input("examples"), EXAMPLES)
    registry = read_registry(job.input("estimators"))
    table = source_table(read_metrics(job.input("metrics")), examples, registry)
    with figures.style():
        # The four files of the figure share their stem.
        figures.save_figure(draw(table, examples, registry), table, job.outputs["svg"].with_suffix(""))


def source_table(metrics: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> pd.DataFrame:
    """All points of panels b to e, seeds averaged, columns `COLUMNS`, estimators in the order of the registry.

    b top 5 by dose; c share of the headline's first predictions below each misorientation (`floor` is the gallery's);
    d areas under the curves of not indexed; e the ablation.
    """
    table = with_condition_columns(metrics, texts=("kind", "region", "stage", "arm"), numbers=("dose_e",))
    table = table[(table["statistic"] == "value") & (table["kind"] == "plain")]
    metric, is_headline_dose = table["metric"], table["dose_e"] == float(examples["headline_dose_e"])
    is_unseen, is_last_stage = table["region"] == "unseen", table["stage"].isna()
    is_main = is_unseen & is_last_stage & table["arm"].isna()
    is_ablation = (metric == TOP5) | ((metric == UNFAIR) & is_unseen & is_last_stage)
    parts = {
        "b": is_main & metric.isin((TOP5, EXPECTED)),
        "d": is_main & is_headline_dose & (metric == AUC),
        "e": is_ablation & is_headline_dose & table["estimator"].isin(registry.named("arm")),
    }
    keys = ["estimator", "stage", "arm", "metric", "region", "dose_e"]
    panels = []
    for panel, chosen in parts.items():
        groups = table[chosen].groupby(keys, dropna=False, sort=False)[["value", "low", "high", "n"]]
        panels.append(groups.mean().reset_index().assign(panel=panel))
    rows = pd.concat([*panels, _cumulative(examples)])
    rows["place"] = rows["estimator"].map(registry.places())
    return rows.sort_values(["panel", "place"], kind="stable")[COLUMNS].reset_index(drop=True)


def _cumulative(examples: Mapping[str, np.ndarray]) -> pd.DataFrame:
    parts = []
    curves = zip([*examples["estimators"], "floor"], [*examples["misorientations"], examples["floor"]], strict=True)
    for name, counts in curves:
        share = np.cumsum(counts) / max(counts.sum(), 1)
        about = {"panel": "c", "estimator": str(name), "metric": "share_below", "n": counts.sum()}
        parts.append(pd.DataFrame({"value": share, "misorientation_deg": examples["edges_deg"][1:]}).assign(**about))
    return pd.concat(parts)


def draw(table: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a predictions, b top 5 by dose, c misorientations, d not indexed, e the ablation, f a map."""
    rows = len(examples["query"])
    ablation = table[table["panel"] == "e"]
    lines = ablation_lines(ablation, registry)
    mapped = examples["map_deg"].size > 0
    heights = [21.0 * rows + 6, 55.0, max(12.0 + 3.6 * len(lines), 75.0 if mapped else 25.0)]
    figure = figures.new_figure(figures.PAGE_MM, sum(heights))
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    _draw_predictions(top, examples)
    by_dose, misorientations, not_indexed = middle.subplots(1, 3)
    _draw_doses(by_dose, table[table["panel"] == "b"], registry)
    _draw_cumulative(misorientations, table[table["panel"] == "c"], examples, registry)
    _draw_curves(not_indexed, table[table["panel"] == "d"], examples, registry)
    for axis, text in zip((by_dose, misorientations, not_indexed), "bcd", strict=True):
        figures.letter(axis, text)
    handles, labels = by_dose.get_legend_handles_labels()
    middle.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    left, right = bottom.subfigures(1, 2, width_ratios=[45, 55]) if mapped else (bottom, None)
    _draw_ablation(left.subplots(), lines, ablation[ablation["metric"] == UNFAIR], examples, registry)
    if right is not None:
        _draw_map(right, examples)
    return figure


def _draw_predictions(figure: SubFigure, examples: Mapping[str, np.ndarray]) -> None:
    """A row for each query; square roots of intensities, every picture on its own scale."""
    tolerance, (_, _, candidates, *size) = float(examples["tolerance_deg"]), examples["answer"].shape
    titles = [f"{float(examples['headline_dose_e']):g} e⁻ in spots", "truth"]
    titles += [f"{name}\nanswer {place + 1}" for name in examples["shown"].tolist() for place in range(candidates)]
    axes = figure.subplots(len(examples["query"]), len(titles), squeeze=False)
    for row, line in enumerate(axes):
        predicted = examples["answer"][:, row].reshape(-1, *size)
        for axis, picture in zip(line, [examples["query"][row], examples["truth"][row], *predicted], strict=True):
            root = np.sqrt(np.clip(picture, 0, None))
            axis.imshow(root, vmin=0, vmax=np.quantile(root, 0.998) or 1, cmap="gray")
        for axis, angle_deg in zip(line[2:], examples["answer_deg"][:, row].ravel().tolist(), strict=True):
            _mark(axis, angle_deg, angle_deg <= tolerance)
        line[0].set_ylabel(f"query {row + 1}")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figures.without_ticks(axes)
    figures.scale_bar(axes[0, 0], float(examples["pixel_size_per_a"]), unit="1/Å")
    figures.letter(axes[0, 0], "a")


def _mark(axis: Axes, angle_deg: float, right: bool) -> None:
    text = f"{'✓' if right else '✗'} {angle_deg:.1f}°"
    looks = {"va": "top", "fontsize": 6, "fontweight": "bold", "color": "white"}
    words = axis.text(0.04, 0.95, text, transform=axis.transAxes, **looks)
    words.set_path_effects([withStroke(linewidth=2.0, foreground=figures.BLUE if right else figures.VERMILLION)])


def _draw_doses(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    """A curve with intervals for each estimator; the grey line is chance in closed form."""
    top5 = points[points["metric"] == TOP5]
    for name, line in top5.groupby("estimator", sort=False):
        line = line.sort_values("dose_e")
        looks = registry[name].looks
        axis.errorbar(line["dose_e"], line["value"], yerr=figures.error_bars(line), capsize=1.5, label=name, **looks)
    expected = points.loc[points["metric"] == EXPECTED, "value"]
    if len(expected):
        axis.axhline(expected.iloc[0], color="0.7", linewidth=0.6)
    doses = sorted(top5["dose_e"].unique())
    axis.set_xscale("log")
    axis.set_xticks(doses, labels=[f"{dose:g}" for dose in doses])
    axis.minorticks_off()
    axis.set(xlabel="dose (e⁻ in spots)", ylabel="right among 5 (%)", ylim=(-3, 103))
    cells = " to ".join(map(str, sorted({int(top5["n"].min()), int(top5["n"].max())})))
    axis.set_title(f"n = {cells} cells; grey: chance, {expected.iloc[0]:.2g} %" if len(expected) else "")


def _draw_cumulative(axis: Axes, points: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> None:
    for name, line in points.groupby("estimator", sort=False):
        colour, linestyle = ("black", ":") if name == "floor" else (registry[name].looks["color"], "-")
        axis.plot(line["misorientation_deg"], 100 * line["value"], color=colour, linestyle=linestyle)
    tolerance = float(examples["tolerance_deg"])
    axis.axvline(tolerance, color="0.7", linewidth=0.6)
    axis.set_xscale("log")
    axis.set(xlabel="misorientation of the first answer (°)", ylabel="share below (%)", ylim=(-3, 103), xlim=(0.1, 180))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_title(f"dotted: gallery's floor; grey: {tolerance:g}°")


def _draw_curves(axis: Axes, areas: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> None:
    for name, curve in zip(examples["roc_of"].tolist(), examples["roc"], strict=True):
        axis.plot(100 * examples["false_share"], 100 * curve, color=registry[name].looks["color"])
    axis.plot([0, 100], [0, 100], color="0.7", linewidth=0.6)
    with_curve = areas[areas["estimator"] != "chance"].sort_values("value", ascending=False)
    # From the lower right corner upwards, where no good curve passes
    for place, (name, area) in enumerate(zip(with_curve["estimator"][::-1], with_curve["value"][::-1], strict=True)):
        colour = registry[name].looks["color"]
        axis.text(98, 3 + 8 * place, f"{name} {area:.2f}", color=colour, ha="right", fontsize=6)
    axis.set(xlabel="no crystal, yet indexed (%)", ylabel="crystals indexed (%)", ylim=(-3, 103), xlim=(-3, 103))
    axis.set_title("not indexed: score alone, area")


def ablation_lines(points: pd.DataFrame, registry: Registry) -> list[tuple[str, pd.DataFrame]]:
    """Label and points by region of every measured line of the ablation.

    Every arm is followed by the trainings of the same length, by its state before finetuning, then by the short ones.

    Args:
        points: rows of panel e.
    """
    lines = []
    for base in registry.named("arm"):
        ablations = [(None, arm) for arm in registry.named("ablation") if base_of(arm) == base]
        stages_and_arms = [(None, None), *ablations, ("pretrain", None)]
        stages_and_arms.sort(key=lambda line: (line[1] in SHORT, line[0] is not None))
        of_base = points[(points["estimator"] == base) & (points["metric"] == TOP5)]
        for stage, arm in stages_and_arms:
            label = "before finetuning" if stage else registry[arm].label if arm else base
            line = of_base[(of_base["stage"].fillna("") == (stage or "")) & (of_base["arm"].fillna("") == (arm or ""))]
            if not line.empty:
                lines.append((label, line.set_index("region")))
    return lines


def _draw_ablation(
    axis: Axes,
    lines: Sequence[tuple[str, pd.DataFrame]],
    unfair: pd.DataFrame,
    examples: Mapping[str, np.ndarray],
    registry: Registry,
) -> None:
    """Filled marks for unseen directions, hollow for seen ones."""
    for place, (_, line) in enumerate(lines):
        looks = registry[line["estimator"].iloc[0]].looks
        for region, shift in (("unseen", -0.15), ("seen", 0.15)):
            if region not in line.index:
                continue
            point, height = line.loc[region], place + shift
            hollow = {} if region == "unseen" else {"markerfacecolor": "white"}
            if np.isfinite(point["low"]):
                axis.plot([point["low"], point["high"]], [height, height], color=looks["color"], linewidth=1.0)
            axis.plot(point["value"], height, linestyle="none", **looks | hollow)
    axis.set(yticks=range(len(lines)), ylim=(len(lines) - 0.5, -0.5), xlim=(-3, 103))
    axis.set_yticklabels([label for label, _ in lines])
    for tick_label, (label, line) in zip(axis.get_yticklabels(), lines, strict=True):
        tick_label.set_fontweight("bold" if label == line["estimator"].iloc[0] else "normal")
    axis.set(xlabel=f"right among 5 at {float(examples['headline_dose_e']):g} e⁻ (%); hollow: seen directions")
    if len(unfair):
        value, low, high = unfair[["value", "low", "high"]].iloc[0]
        interval = f" [{low:+.1f}, {high:+.1f}]" if np.isfinite(low) else ""
        axis.set_title(f"pretraining on the test's patterns\ngains published {value:+.1f} points{interval}", loc="left")
    figures.letter(axis, "e")


def _draw_map(figure: SubFigure, examples: Mapping[str, np.ndarray]) -> None:
    """Beam directions of the scan by colour, the truth first, and the key of the colours."""
    key = ColourKey.of(examples["symmetry"])
    names = [TRUTH, *examples["shown"].tolist()]
    axes = np.ravel(figure.subplots(2, 2))
    degrees, tolerance = examples["map_deg"], float(examples["tolerance_deg"])
    for place, (axis, name) in enumerate(zip(axes, names, strict=False)):
        axis.imshow(key.colours(examples["map_direction"][place]))
        right = "" if name == TRUTH else f", right {100 * (degrees[place - 1] <= tolerance).mean():.0f} %"
        axis.set_title(name + right)
    key.draw(axes[-1])
    axes[-1].set_title("beam in the crystal")
    for axis in axes[len(names) : -1]:
        axis.set_visible(False)
    figures.without_ticks(axes)
    figures.letter(axes[0], "f")


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Examples and curves of the stage evaluate (.npz).",
            "estimators": "The method's registry of estimators (estimators.yaml).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
        },
    ).main()
