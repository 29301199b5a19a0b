"""The figures of diffractive imaging, drawn from the tables and images of the stage evaluate.

The first shows patches, a stitched photograph, the transfer of both stitchings and R²; the second the scans by every
estimator, error against dose, coverage, each fault alone, and sparse and perturbed scans.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.diffractive_imaging.settings import NO_FAULT, Plot
from workflow_scripts.study.conditions import with_condition_columns
from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.figures import (
    BLUE,
    GREEN,
    PAGE_MM,
    VERMILLION,
    error_bars,
    letter,
    log_ordinate,
    new_figure,
    save_figure,
    scale_bar,
    style,
    without_ticks,
)
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_all_arrays

OBJECTS = {
    "photograph": "photographs",
    "dead_leaves": "dead leaves",
    "step_edge": "step edge",
    "hbn": "hBN, one layer",
    "hbn_twisted": "hBN, twisted bilayer",
    "graphene": "graphene",
    "mos2": "MoS₂",
    "fullerenes": "C₆₀",
}
PICTURED = ("step_edge", "hbn_twisted", "mos2", "fullerenes")  # the scans of panel a
_COLUMNS = [
    "panel",
    "object",
    "estimator",
    "dose_e",
    "phase_std_rad",
    "fault",
    "experiment",
    "value",
    "low",
    "high",
    "n",
]
_METRICS = {"b": "phase_rmse_rad_meanfree", "c": "coverage_68", "d": "patch_r2", "e": "phase_rmse_relative"}


class Arguments(Plot):
    """The settings of the stage."""


def plot(job: Job[Arguments]) -> None:
    """Write both figures in three formats and the tables of their curves."""
    metrics, registry = read_metrics(job.input("metrics")), read_registry(job.input("estimators"))
    images = read_all_arrays(job.input("examples"))
    patches = patch_table(metrics, pd.read_csv(job.input("transfer")))
    scans = scan_table(metrics)
    with style():
        # The four files of a figure share their stem.
        figure = draw_patches(patches, images, registry)
        save_figure(figure, patches, job.outputs["svg"].with_suffix(""))
        figure = draw_scans(scans, images, registry)
        save_figure(figure, scans, job.outputs["scans_svg"].with_suffix(""))


def patch_table(metrics: pd.DataFrame, transfer: pd.DataFrame) -> pd.DataFrame:
    """All points of panels c and d.

    Returns:
        columns panel, estimator, period_px, phase_std_rad, dose_e, value, low, high, n; seeds averaged.
    """
    curves = transfer[transfer["scan"] == "default"].rename(columns={"transfer": "value"}).assign(panel="c")
    patches = with_condition_columns(
        metrics[metrics["metric"] == "patch_r2"], texts=("stage", "fault"), numbers=("phase_std_rad", "dose_e")
    )
    patches = patches[patches["stage"].isna() & patches["fault"].isna()]
    columns = ["panel", "estimator", "period_px", "phase_std_rad", "dose_e", "value", "low", "high", "n"]
    points = mean_over_seeds(patches, ["estimator", "phase_std_rad", "dose_e"]).assign(panel="d")
    return pd.concat([curves, points]).reindex(columns=columns).reset_index(drop=True)


def mean_over_seeds(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Value, low, high and n of rows of metrics.csv, averaged over those that agree in the columns `keys`."""
    numbers = rows[["value", "low", "high", "n"]].astype(float)
    return numbers.groupby([rows[key] for key in keys], sort=False, dropna=False).mean().reset_index()


def draw_patches(table: pd.DataFrame, images: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a patches, b a stitched photograph, c transfer of the stitchings, d R² of all estimators."""
    figure = new_figure(PAGE_MM, 190.0)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1.5, 0.75, 1.15])
    _draw_patches(top, images, registry)
    _draw_scan(middle, images, registry)
    n_doses = table["dose_e"].nunique()
    transfer, *by_dose = bottom.subplots(1, 1 + n_doses, width_ratios=[1.7, *[1.0] * n_doses])
    _draw_transfer(transfer, table[table["panel"] == "c"], registry)
    _draw_r2(by_dose, table[table["panel"] == "d"], registry)
    return figure


def _draw_patches(figure: SubFigure, images: Mapping[str, np.ndarray], registry: Registry) -> None:
    by_name = dict(zip(images["patch_estimators"].tolist(), images["patches_rad"], strict=True))
    by_name = {"truth": images["true_patches_rad"]} | {name: by_name[name] for name in registry.ordered(by_name)}
    axes = figure.subplots(len(images["counts"]), 1 + len(by_name))
    for row, counts in enumerate(images["counts"]):
        axes[row, 0].imshow(np.sqrt(counts), cmap="magma")
        limit = np.nanmax(np.abs(images["true_patches_rad"][row]))
        for axis, patches in zip(axes[row, 1:], by_name.values(), strict=True):
            image = axis.imshow(patches[row], vmin=-limit, vmax=limit, cmap="RdBu_r")
        figure.colorbar(image, ax=axes[row, -1], label="phase (rad)")
    for axis, name in zip(axes[0], ["√counts", *by_name], strict=True):
        axis.set_title(name)
    without_ticks(axes)
    letter(axes[0, 0], "a")


def _draw_scan(figure: SubFigure, images: Mapping[str, np.ndarray], registry: Registry) -> None:
    estimators = registry.ordered(images["estimators"].tolist())
    axes = figure.subplots(1, 1 + len(estimators), squeeze=False)[0]
    # The first scan is that of a photograph.
    truth, *pictures = _draw_row(figure, axes, images, images["scans"][0], estimators, percentile=99, shrink=0.75)
    axes[0].set_title("truth")
    for axis, name, picture in zip(axes[1:], estimators, pictures, strict=True):
        axis.set_title(f"{name}\nRMSE {np.nanstd(picture - truth):.3f} rad")
    without_ticks(axes)
    letter(axes[0], "b")


def _draw_transfer(axis: Axes, curves: pd.DataFrame, registry: Registry) -> None:
    labels = {"corrected": "least squares", "published": "damped average"}
    for estimator, curve in curves.groupby("estimator"):
        looks = {**registry[estimator].looks, "marker": ""}
        axis.plot(curve["period_px"], curve["value"], label=labels[estimator], **looks)
    axis.axhline(0.95, color="0.6", linewidth=0.6, linestyle=":")
    axis.set_xscale("log")
    axis.set_xticks([2, 5, 10, 20, 50, 100], labels=["2", "5", "10", "20", "50", "100"])
    axis.minorticks_off()
    axis.set(xlabel="period of the detail (object pixels)", ylabel="transfer T", ylim=(-0.03, 1.06))
    axis.legend(loc="lower left")
    letter(axis, "c")


def _draw_r2(axes: list[Axes], points: pd.DataFrame, registry: Registry) -> None:
    """One panel for each dose; what falls below the panel, most at small phases, has its value written on the left."""
    doses = sorted(points["dose_e"].unique(), reverse=True)
    for axis, dose in zip(axes, doses, strict=True):
        of_dose = points[points["dose_e"] == dose]
        _draw_lines(axis, of_dose, "phase_std_rad", registry)
        smallest = of_dose.groupby("estimator")["value"].min()
        for row, estimator in enumerate(registry.ordered(smallest.index)):
            if smallest[estimator] < -0.55:
                axis.text(
                    *(0.03, 0.04 + 0.08 * row, f"{estimator}: down to {smallest[estimator]:.3g}"),
                    color=registry[estimator].looks["color"],
                    fontsize=6,
                    transform=axis.transAxes,
                )
        axis.set(title=f"{dose:,.0f} e⁻ per pattern", xlabel="phase std (rad)", ylim=(-0.55, 1.03))
        if axis is not axes[0]:
            axis.set_yticklabels([])
    axes[0].set_ylabel("patch R²")
    axes[0].legend(loc="lower left")
    letter(axes[0], "d")


def scan_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """All points of panels b to e, seeds averaged: the columns of `_COLUMNS`."""
    texts, numbers = ("object", "fault", "stage", "perturbation"), ("dose_e", "phase_std_rad", "step_px")
    table = with_condition_columns(metrics, texts, numbers)
    steps = table["step_px"].map("step of {:.3g} px".format).where(table["step_px"].notna())
    table["experiment"] = table["perturbation"].fillna(steps)
    final = table[table["stage"].isna()]
    keys = ["estimator", "object", "fault", "experiment", "dose_e", "phase_std_rad"]
    points = []
    for panel, metric in _METRICS.items():
        # Rows of a single fault are in panel d, those of other experiments in panel e, and in no other.
        in_panel = (final["fault"].notna() == (panel == "d")) & (final["experiment"].notna() == (panel == "e"))
        rows = final[(final["metric"] == metric) & in_panel]
        points.append(mean_over_seeds(rows, keys).assign(panel=panel))
    return pd.concat(points)[_COLUMNS].reset_index(drop=True)


def draw_scans(table: pd.DataFrame, images: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a scans by every estimator, b error against dose, c coverage, d each fault alone, e experiments."""
    figure = new_figure(PAGE_MM, 250.0)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1.5, 1.5, 1.0])
    _draw_scan_images(top, images, registry)
    errors = table[table["panel"] == "b"]
    objects = [name for name in OBJECTS if name in set(errors["object"])]
    columns = min(4, len(objects))
    axes = middle.subplots(-(-len(objects) // columns), columns, squeeze=False).flatten()
    for axis in axes[len(objects) - columns :]:
        axis.set_xlabel("electrons per pattern")
    for axis in axes[len(objects) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, objects, strict=False):
        _draw_lines(axis, errors[errors["object"] == name], "dose_e", registry)
        axis.set_xscale("log")
        axis.set(title=OBJECTS[name])
        log_ordinate(axis)
    axes[0].set_ylabel("RMSE, mean-free (rad)")
    middle.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    letter(axes[0], "b")
    coverage, faults, experiments = bottom.subplots(1, 3, width_ratios=[1, 1, 1.1])
    _draw_coverage(coverage, table[table["panel"] == "c"])
    _draw_faults(faults, table[table["panel"] == "d"])
    _draw_experiments(experiments, table[table["panel"] == "e"], registry)
    return figure


def _draw_scan_images(figure: SubFigure, images: Mapping[str, np.ndarray], registry: Registry) -> None:
    scans = [name for name in PICTURED if name in images["scans"].tolist()]
    estimators = registry.ordered(images["estimators"].tolist())
    axes = figure.subplots(len(scans), 1 + len(estimators), squeeze=False)
    for row, scan in zip(axes, scans, strict=True):
        _draw_row(figure, row, images, scan, estimators, percentile=99.5)
        row[0].set_ylabel(OBJECTS[scan])
    for axis, name in zip(axes[0], ["truth", *estimators], strict=True):
        axis.set_title(name)
    without_ticks(axes)
    letter(axes[0, 0], "a")


def _draw_coverage(axis: Axes, points: pd.DataFrame) -> None:
    points = points[points["estimator"] == "corrected"]
    for name, marker in zip(OBJECTS, "osD^v<>P", strict=True):
        line = points[points["object"] == name].sort_values("dose_e")
        if len(line):
            axis.plot(line["dose_e"], line["value"], marker=marker, label=OBJECTS[name])
    axis.axhline(0.6827, color="0.6", linewidth=0.6, linestyle=":")
    axis.set_xscale("log")
    axis.set(xlabel="electrons per pattern", ylabel="share of pixels inside ± σ", ylim=(0, 1))
    if len(points):
        axis.legend(loc="lower center", bbox_to_anchor=(0.55, 1.1), ncols=2)
    letter(axis, "c")


def _draw_faults(axis: Axes, points: pd.DataFrame) -> None:
    """One row a fault, one marker a dose; what lies left of the panel is drawn on its edge, its value beside it."""
    edge = -0.6
    points = points[points["phase_std_rad"] == 0.5]
    faults = list(dict.fromkeys(points["fault"]))[::-1]
    doses = sorted(points["dose_e"].unique(), reverse=True)
    for dose, marker, colour in zip(doses, "osD", (BLUE, VERMILLION, GREEN), strict=False):
        of_dose = points[points["dose_e"] == dose].set_index("fault").reindex(faults)
        values = of_dose["value"].to_numpy(float)
        axis.errorbar(
            np.clip(values, edge, None),
            range(len(faults)),
            xerr=error_bars(of_dose),
            fmt=marker,
            color=colour,
            label=f"{dose:,.0f} e⁻",
        )
        for row, value in enumerate(values):
            if value < edge:
                axis.text(edge + 0.02, row + 0.12, f"{value:.1f}", color=colour, fontsize=6)
    names = ["no fault" if fault == NO_FAULT else str(fault).replace("_", " ") for fault in faults]
    axis.set_yticks(range(len(faults)), names)
    axis.set(xlabel="patch R² at 0.5 rad, short training", xlim=(edge, 1.02))
    if faults:
        axis.legend(loc="lower center")
    letter(axis, "d")


def _draw_experiments(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    """One row for each sparse and perturbed scan, and for the perturbed objects without a perturbation."""
    points = points[points["object"] == "all"]
    names = sorted(set(points["experiment"]), key=lambda name: (name != "none", name))[::-1]
    for estimator in registry.ordered(points["estimator"]):
        values = points[points["estimator"] == estimator].set_index("experiment")["value"].reindex(names)
        axis.plot(values, range(len(names)), linestyle="", label=estimator, **registry[estimator].looks)
    axis.set_yticks(range(len(names)), ["as assumed" if name == "none" else name.replace("_", " ") for name in names])
    axis.set(xlabel="RMSE over the phase's σ", xscale="log")
    letter(axis, "e")


def _draw_row(
    figure: SubFigure,
    axes: np.ndarray,
    images: Mapping[str, np.ndarray],
    scan: str,
    estimators: list[str],
    percentile: float,
    **colour_bar: float,
) -> list[np.ndarray]:
    """The true phase of a scan and that of every estimator, with one scale bar and one colour bar.

    Args:
        percentile: of the true phase's magnitude, where the colours end.

    Returns:
        the images, the truth first.
    """
    truth, names = images[f"true.{scan}_rad"], images["estimators"].tolist()
    limit = np.nanpercentile(np.abs(truth), percentile)
    pictures = [truth, *(images[f"{scan}_rad"][names.index(name)] for name in estimators)]
    for axis, picture in zip(axes, pictures, strict=True):
        image = axis.imshow(picture, vmin=-limit, vmax=limit)
    scale_bar(axes[0], float(images["pixel_size_a"]))
    figure.colorbar(image, ax=axes[-1], label="phase (rad)", **colour_bar)
    return pictures


def _draw_lines(axis: Axes, points: pd.DataFrame, x: str, registry: Registry) -> None:
    """Values of every estimator against the column `x`, with their intervals."""
    for estimator in registry.ordered(points["estimator"]):
        line = points[points["estimator"] == estimator].sort_values(x)
        looks = registry[estimator].looks
        axis.errorbar(line[x], line["value"], yerr=error_bars(line), capsize=1.5, label=estimator, **looks)


if __name__ == "__main__":
    Command(
        plot,
        Arguments,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "transfer": "Transfer of both stitchings by period (.csv).",
            "examples": "Example patches and stitched images (.npz).",
            "estimators": "The method's estimators.yaml.",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind its curves.",
            "scans_svg": "The figure of the scans.",
            "scans_pdf": "The figure of the scans, with its fonts.",
            "scans_png": "The figure of the scans, 300 dpi.",
            "scans_csv": "The table behind its curves.",
        },
    ).main()
