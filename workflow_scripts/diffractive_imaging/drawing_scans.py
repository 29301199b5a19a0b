"""How the figure of the scans looks: images by every estimator, error against dose, coverage, each fault alone."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.diffractive_imaging.drawing import mean_over_seeds
from workflow_scripts.diffractive_imaging.variants import NO_FAULT
from workflow_scripts.study.conditions import with_condition_columns
from workflow_scripts.study.estimators import Registry
from workflow_scripts.study.figures import (
    BLUE,
    GREEN,
    PAGE_MM,
    PURPLE,
    VERMILLION,
    letter,
    log_ordinate,
    new_figure,
    scale_bar,
    without_ticks,
)
from workflow_scripts.workflow.files import read_arrays

OBJECTS = {
    "photograph": "photographs",
    "step_edge": "step edge",
    "hbn": "hBN, one layer",
    "hbn_twisted": "hBN, twisted bilayer",
}
_COLUMNS = ["panel", "object", "estimator", "dose_e", "phase_std_rad", "fault", "value", "low", "high", "n"]
_METRICS = {"b": "phase_rmse_rad_meanfree", "c": "coverage_68", "d": "patch_r2"}


def read_images(path: Path) -> dict[str, np.ndarray]:
    """What panel a shows: estimators, scans, pixel_size_a, and true.<scan>_rad and <scan>_rad of each."""
    scans = [name for name in OBJECTS if name in read_arrays(path, ["scans"])["scans"].tolist()]
    names = [f"{prefix}{scan}_rad" for scan in scans for prefix in ("true.", "")]
    return read_arrays(path, ["estimators", "pixel_size_a", *names]) | {"scans": np.array(scans)}


def source_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """All points of panels b to d, seeds averaged: the columns of `_COLUMNS`."""
    texts, numbers = ("object", "fault", "stage", "perturbation"), ("dose_e", "phase_std_rad")
    table = with_condition_columns(metrics, texts, numbers)
    usual = table[table["stage"].isna() & table["perturbation"].isna()]
    keys = ["estimator", "object", "fault", "dose_e", "phase_std_rad"]
    points = []
    for panel, metric in _METRICS.items():
        # Rows of a single fault are in panel d and in no other.
        rows = usual[(usual["metric"] == metric) & (usual["fault"].notna() == (panel == "d"))]
        points.append(mean_over_seeds(rows, keys).assign(panel=panel))
    return pd.concat(points)[_COLUMNS].reset_index(drop=True)


def draw(table: pd.DataFrame, images: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a scans by every estimator, b error against dose, c coverage, d each fault alone."""
    figure = new_figure(PAGE_MM, 215.0)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1.75, 1.05, 1.0])
    _draw_images(top, images, registry)
    errors = table[table["panel"] == "b"]
    objects = [name for name in OBJECTS if name in set(errors["object"])]
    axes = middle.subplots(1, len(objects), squeeze=False)[0]
    for axis, name in zip(axes, objects, strict=True):
        _draw_lines(axis, errors[errors["object"] == name], OBJECTS[name], registry)
        log_ordinate(axis)
    axes[0].set_ylabel("RMSE, mean-free (rad)")
    middle.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    letter(axes[0], "b")
    coverage, faults = bottom.subplots(1, 2, width_ratios=[1, 1.3])
    _draw_coverage(coverage, table[table["panel"] == "c"])
    _draw_faults(faults, table[table["panel"] == "d"])
    return figure


def _draw_images(figure: SubFigure, images: Mapping[str, np.ndarray], registry: Registry) -> None:
    scans, names = images["scans"].tolist(), images["estimators"].tolist()
    estimators = registry.ordered(names)
    axes = figure.subplots(len(scans), 1 + len(estimators), squeeze=False)
    for row, scan in zip(axes, scans, strict=True):
        truth = images[f"true.{scan}_rad"]
        limit = np.nanpercentile(np.abs(truth), 99.5)
        for axis, picture in zip(
            row, [truth, *(images[f"{scan}_rad"][names.index(name)] for name in estimators)], strict=True
        ):
            shown = axis.imshow(picture, vmin=-limit, vmax=limit)
        row[0].set_ylabel(OBJECTS[scan])
        scale_bar(row[0], float(images["pixel_size_a"]))
        figure.colorbar(shown, ax=row[-1], label="phase (rad)")
    for axis, name in zip(axes[0], ["truth", *estimators], strict=True):
        axis.set_title(name)
    without_ticks(axes)
    letter(axes[0, 0], "a")


def _draw_lines(axis: Axes, points: pd.DataFrame, title: str, registry: Registry) -> None:
    for estimator in registry.ordered(points["estimator"]):
        line = points[points["estimator"] == estimator].sort_values("dose_e")
        reach = [(line["value"] - line["low"]).fillna(0), (line["high"] - line["value"]).fillna(0)]
        looks = registry[estimator].looks
        axis.errorbar(line["dose_e"], line["value"], yerr=reach, label=estimator, capsize=1.5, **looks)
    axis.set_xscale("log")
    axis.set(title=title, xlabel="electrons per pattern")


def _draw_coverage(axis: Axes, points: pd.DataFrame) -> None:
    points = points[points["estimator"] == "corrected"]
    for name, marker, colour in zip(OBJECTS, "osD^", (BLUE, VERMILLION, GREEN, PURPLE), strict=True):
        line = points[points["object"] == name].sort_values("dose_e")
        if len(line):
            axis.plot(line["dose_e"], line["value"], marker=marker, color=colour, label=OBJECTS[name])
    axis.axhline(0.6827, color="0.6", linewidth=0.6, linestyle=":")
    axis.set_xscale("log")
    axis.set(xlabel="electrons per pattern", ylabel="share of pixels inside ± σ", ylim=(0, 1))
    if len(points):
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
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
        reach = [np.nan_to_num(values - of_dose["low"]), np.nan_to_num(of_dose["high"] - values)]
        axis.errorbar(
            np.clip(values, edge, None),
            range(len(faults)),
            xerr=reach,
            fmt=marker,
            color=colour,
            label=f"{dose:,.0f} e⁻",
        )
        for row, value in enumerate(values):
            if value < edge:
                axis.text(edge + 0.02, row + 0.12, f"{value:.1f}", color=colour, fontsize=6)
    names = ["no fault" if fault == NO_FAULT else str(fault).replace("_", " ") for fault in faults]
    axis.set_yticks(range(len(faults)), names)
    axis.set(xlabel="patch R² at 0.5 rad, all trained for ablation_epochs", xlim=(edge, 1.02))
    if faults:
        axis.legend(loc="lower center")
    letter(axis, "d")
