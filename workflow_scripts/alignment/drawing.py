"""How the figure of alignment looks: averages, errors against noise, histograms, averages against N, pure noise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.study.figures import (
    PAGE_MM,
    estimator_style,
    letter,
    log_ordinate,
    new_figure,
    scale_bar,
    without_ticks,
)
from workflow_scripts.study.tables import HEADLINE
from workflow_scripts.workflow.files import read_arrays

EXAMPLES = (
    *("particles", "pixel_size_a", "centres", "noisy", "estimators", "averages", "noise_averages"),
    *("edges_deg", "curves", "counts", "headline_snr", "images"),
)
ORDER = ("polar_pairwise", "polar_joint", "published", "corrected", "true_poses")
LINES = {"pairwise": ":", "joint": "-"}
OWN_LOSS = "own_loss_deg"
ANGLE, SHIFT, RESOLUTION, CORRELATION = (
    *("rotation_error_deg_mod180", "shift_error_px"),
    *("frc_resolution_a", "average_correlation"),
)
TEXT = ("alignment", "noise", "particle", "stage", "control", "symmetry")
NUMBERS = ("snr", "images")
COLUMNS = [
    *("panel", "estimator", "alignment", "metric", "particle", "noise", "control"),
    *("snr", "images", "value", "low", "high", "n"),
]
CHANCE_DEG = 45.0


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The averages and histograms of the stage evaluate."""
    return read_arrays(path, EXAMPLES)


def with_conditions(metrics: pd.DataFrame) -> pd.DataFrame:
    """The table with a column for every key of the conditions, numbers as numbers; the headline, named twice, once."""
    table = metrics[metrics["condition"] != HEADLINE].reset_index(drop=True)
    keys = [dict(pair.split("=") for pair in text.split(";")) for text in table["condition"]]
    found = pd.DataFrame(keys).reindex(columns=[*TEXT, *NUMBERS])
    for key in NUMBERS:
        found[key] = found[key].astype(float)
    return pd.concat([table, found], axis=1)


def source_table(metrics: pd.DataFrame, headline_snr: float) -> pd.DataFrame:
    """All points of panels b to g, seeds averaged, columns `COLUMNS`.

    b errors of the angle and c of the shift by SNR, e resolution by number of images, f angles and g averages of pure
    noise (`control` is noise, or null for what chance gives); panel d shows the counts of the examples.
    """
    table = with_conditions(metrics)
    plain = table["stage"].isna()
    every, white, real = table["particle"] == "all", table["noise"] == "white", table["control"].isna()
    mean, all_images = table["statistic"] == "mean", table["images"].isna()
    value, control = table["statistic"] == "value", table["control"].notna()
    way = table["alignment"].notna()
    parts = {
        "b": mean & every & real & way & (table["metric"] == ANGLE),
        "c": mean & every & real & way & (table["metric"] == SHIFT),
        "e": value & every & white & real & ~all_images & (table["metric"] == RESOLUTION),
        "f": control & (mean & (table["metric"] == ANGLE) | (table["metric"] == OWN_LOSS)),
        "g": value & control & (table["metric"] == CORRELATION),
    }
    parts["e"] &= table["snr"] == headline_snr
    keys = ["estimator", "alignment", "metric", "particle", "noise", "control", "snr", "images"]
    found = []
    for panel, chosen in parts.items():
        groups = table[chosen & plain].groupby(keys, dropna=False, sort=False)[["value", "low", "high", "n"]]
        found.append(groups.mean().reset_index().assign(panel=panel))
    rows = pd.concat(found)
    place = rows["estimator"].map({name: index for index, name in enumerate(ORDER)})
    order = rows.assign(place=place).sort_values(["panel", "place"], kind="stable")
    return order[COLUMNS].reset_index(drop=True)


def draw(table: pd.DataFrame, examples: Mapping[str, np.ndarray]) -> Figure:
    """The figure: a class averages, b and c errors by SNR, d histograms, e resolution by N, f and g pure noise."""
    rows = len(examples["particles"])
    figure = new_figure(PAGE_MM, 100.0 + 26.0 * rows)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[26.0 * rows, 50.0, 50.0])
    _draw_averages(top, examples)
    angles, shifts, histogram = middle.subplots(1, 3)
    _by_snr(angles, table[table["panel"] == "b"], "mean error mod 180 (°)")
    letter(angles, "b")
    _by_snr(shifts, table[table["panel"] == "c"], "mean shift error (px)")
    letter(shifts, "c")
    _draw_histogram(histogram, examples)
    letter(histogram, "d")
    handles, labels = angles.get_legend_handles_labels()
    middle.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    growth, noise_angles, noise_averages = bottom.subplots(1, 3)
    _by_images(growth, table[table["panel"] == "e"])
    letter(growth, "e")
    _draw_control(noise_angles, table[table["panel"] == "f"])
    noise_angles.axhline(CHANCE_DEG, color="0.7", linewidth=0.6)
    noise_angles.set(ylabel="mean error mod 180 (°)", title="angles of pure noise", ylim=(0, 60))
    letter(noise_angles, "f")
    _draw_control(noise_averages, table[table["panel"] == "g"])
    noise_averages.set(ylabel="correlation with a particle", title="averages of pure noise")
    highest = table.loc[table["panel"] == "g", ["value", "high"]].max().max()
    noise_averages.set_ylim(0, 1.15 * highest if highest > 0 else 1)
    letter(noise_averages, "g")
    return figure


def _draw_averages(figure: SubFigure, examples: Mapping[str, np.ndarray]) -> None:
    """One row for each particle: one noisy image, the clean one, averages; each on a scale of its own."""
    names = examples["estimators"].tolist()
    shown = [names.index(name) for name in ORDER if name in names]
    particles = examples["particles"].tolist()
    axes = figure.subplots(len(particles), 2 + len(shown), squeeze=False)
    for row, (line, particle) in enumerate(zip(axes, particles, strict=True)):
        images = [examples["noisy"][row], examples["centres"][row], *examples["averages"][shown, row]]
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image)
        line[0].set_ylabel(particle)
    titles = [f"SNR {float(examples['headline_snr']):g}", "clean", *(names[place] for place in shown)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    without_ticks(axes)
    scale_bar(axes[0, 0], float(examples["pixel_size_a"][0]))
    letter(axes[0, 0], "a")


def _by_snr(axis: Axes, points: pd.DataFrame, label: str) -> None:
    """A curve for each estimator and way, dotted pair by pair; white noise filled, coloured hollow beside it."""
    beside: dict[tuple[str, str], float] = {}
    for (name, way, noise), line in points.groupby(["estimator", "alignment", "noise"], sort=False):
        line = line.sort_values("snr")
        looks = estimator_style(name) | {"linestyle": LINES[way] if noise == "white" else "none"}
        if noise != "white":
            looks |= {"markerfacecolor": "white"}
        told = f"{name}, {way}" if name in ("published", "corrected") else name
        # Hollow marks stand side by side
        at = line["snr"] * (1.0 if noise == "white" else beside.setdefault((name, way), 1.06 + 0.05 * len(beside)))
        axis.errorbar(
            at, line["value"], yerr=_reach(line), capsize=1.5, label=told if noise == "white" else None, **looks
        )
    ratios = sorted(points["snr"].unique())
    axis.set_xscale("log")
    axis.set_xticks(ratios, labels=[f"{ratio:g}" for ratio in ratios])
    axis.minorticks_off()
    log_ordinate(axis)
    counts = sorted({int(count) for count in points["n"]})
    axis.set(xlabel="SNR (hollow: coloured noise)", ylabel=label)
    axis.set_title(f"n = {' or '.join(map(str, counts))} particles")


def _draw_histogram(axis: Axes, examples: Mapping[str, np.ndarray]) -> None:
    """Cumulative: the share of errors below an angle."""
    edges = examples["edges_deg"]
    for (name, way), counts in zip(examples["curves"].tolist(), examples["counts"], strict=True):
        looks = {"color": estimator_style(name)["color"], "linestyle": LINES[way]}
        axis.plot(edges[1:], np.cumsum(counts) / counts.sum(), **looks)
    axis.plot(edges[1:], edges[1:] / 90, color="0.7", linewidth=0.6)
    axis.set_xscale("log")
    axis.set(xlabel="error mod 180 (°)", ylabel="share below", ylim=(0, 1.02))
    axis.set_title(f"SNR {float(examples['headline_snr']):g}; grey: chance")


def _by_images(axis: Axes, points: pd.DataFrame) -> None:
    for name, line in points.groupby("estimator", sort=False):
        line = line.sort_values("images")
        axis.errorbar(
            line["images"], line["value"], yerr=_reach(line), capsize=1.5, label=name, **estimator_style(name)
        )
    sizes = sorted(points["images"].unique())
    axis.set_xscale("log")
    axis.set_xticks(sizes, labels=[f"{size:g}" for size in sizes])
    axis.minorticks_off()
    axis.set(xlabel="images in the average", ylabel="FRC 0.5 with truth (Å)")
    log_ordinate(axis)
    axis.set_title(f"n = {int(points['n'].min())} particles")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.34), ncols=2)  # bars may fill the panel


def _draw_control(axis: Axes, points: pd.DataFrame) -> None:
    """What each estimator says of pure noise, beside the grey bar of what chance gives."""
    found = points.groupby(["estimator", "alignment"], dropna=False, sort=False)
    names = []
    for place, ((name, way), group) in enumerate(found):
        null, said = group[group["control"] == "null"], group[group["control"] == "noise"]
        axis.plot(
            [place] * 2, [null["low"].min(), null["high"].max()], color="0.75", linewidth=6, solid_capstyle="butt"
        )
        axis.plot([place] * len(said), said["value"], linestyle="none", **estimator_style(name))
        staged = name in ("published", "corrected") and isinstance(way, str)
        own = (group["metric"] == OWN_LOSS).any()
        names.append(f"{name}, its own loss" if own else f"{name}, {way}" if staged else name)
    axis.set_xticks(range(len(names)), labels=names, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_xlim(-0.6, len(names) - 0.4)


def _reach(line: pd.DataFrame) -> np.ndarray:
    """Lengths of the bars; none where there is no interval."""
    return np.nan_to_num(np.array([line["value"] - line["low"], line["high"] - line["value"]]))
