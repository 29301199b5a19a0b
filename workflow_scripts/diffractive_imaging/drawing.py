"""How the figure of diffractive imaging looks: patches, a stitched photograph, transfer, R²."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.study.conditions import with_condition_columns
from workflow_scripts.study.estimators import Registry
from workflow_scripts.study.figures import PAGE_MM, letter, new_figure, scale_bar, without_ticks
from workflow_scripts.workflow.files import read_arrays

IMAGES = ("patch_estimators", "estimators", "counts", "true_patches_rad", "patches_rad", "pixel_size_a")


def read_images(path: Path) -> dict[str, np.ndarray]:
    """What panels a and b show: `IMAGES`, and of the first scan, a photograph, true_scan_rad and scan_rad."""
    shown = str(read_arrays(path, ["scans"])["scans"][0])
    images = read_arrays(path, [*IMAGES, f"true.{shown}_rad", f"{shown}_rad"])
    return images | {"true_scan_rad": images[f"true.{shown}_rad"], "scan_rad": images[f"{shown}_rad"]}


def source_table(metrics: pd.DataFrame, transfer: pd.DataFrame) -> pd.DataFrame:
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


def draw(table: pd.DataFrame, images: Mapping[str, np.ndarray], registry: Registry) -> Figure:
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
            shown = axis.imshow(patches[row], vmin=-limit, vmax=limit, cmap="RdBu_r")
        figure.colorbar(shown, ax=axes[row, -1], label="phase (rad)")
    for axis, name in zip(axes[0], ["√counts", *by_name], strict=True):
        axis.set_title(name)
    without_ticks(axes)
    letter(axes[0, 0], "a")


def _draw_scan(figure: SubFigure, images: Mapping[str, np.ndarray], registry: Registry) -> None:
    truth = images["true_scan_rad"]
    limit = np.nanpercentile(np.abs(truth), 99)
    by_name = dict(zip(images["estimators"].tolist(), images["scan_rad"], strict=True))
    by_name = {"truth": truth} | {name: by_name[name] for name in registry.ordered(by_name)}
    axes = figure.subplots(1, len(by_name), squeeze=False)[0]
    for axis, (name, picture) in zip(axes, by_name.items(), strict=True):
        shown = axis.imshow(picture, vmin=-limit, vmax=limit)
        rmse = np.nanstd(picture - truth)
        axis.set_title(name if name == "truth" else f"{name}\nRMSE {rmse:.3f} rad")
    scale_bar(axes[0], float(images["pixel_size_a"]))
    figure.colorbar(shown, ax=axes[-1], label="phase (rad)", shrink=0.75)
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
        for place, estimator in enumerate(registry.ordered(of_dose["estimator"])):
            line = of_dose[of_dose["estimator"] == estimator].sort_values("phase_std_rad")
            reach = [line["value"] - line["low"], line["high"] - line["value"]]
            axis.errorbar(
                line["phase_std_rad"],
                line["value"],
                yerr=reach,
                label=estimator,
                capsize=1.5,
                **registry[estimator].looks,
            )
            if (line["value"] < -0.55).any():
                axis.text(
                    *(0.03, 0.04 + 0.08 * place, f"{estimator}: down to {line['value'].min():.3g}"),
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
