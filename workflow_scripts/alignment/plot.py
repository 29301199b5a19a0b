"""The figure of alignment: averages, errors against noise, histograms, averages against N, pure noise."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.alignment.settings import Plot
from workflow_scripts.study import figures
from workflow_scripts.study.conditions import with_condition_columns
from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_arrays

# The names of metrics repeat those of evaluation/scores.py: importing that would load torch
EXAMPLES = ("particles", "pixel_size_a", "centres", "noisy", "estimators", "averages")
EXAMPLES += ("edges_deg", "curves", "counts", "headline_snr")
LINES = {"pairwise": ":", "joint": "-"}
OWN_LOSS = "own_loss_deg"
ANGLE, SHIFT = "rotation_error_deg_mod180", "shift_error_px"
RESOLUTION, CORRELATION = "frc_resolution_a", "average_correlation"
KEYS = ["estimator", "alignment", "metric", "particle", "noise", "control", "snr", "images"]
COLUMNS = ["panel", *KEYS, "value", "low", "high", "n"]
CHANCE_DEG = 45.0
PARTICLES_SHOWN = 4


def plot(job: Job[Plot]) -> None:
    """Write the figure in three formats and the table of its curves."""
    registry = read_registry(job.input("estimators"))
    examples = read_arrays(job.input("examples"), EXAMPLES)
    metrics = read_metrics(job.input("metrics"))
    table = source_table(metrics, float(examples["headline_snr"]), registry)
    with figures.style():
        # The four files of the figure share their stem.
        figures.save_figure(draw(table, examples, registry), table, job.outputs["svg"].with_suffix(""))


def source_table(metrics: pd.DataFrame, headline_snr: float, registry: Registry) -> pd.DataFrame:
    """All points of panels b to g, seeds averaged, columns `COLUMNS`.

    Panels: b error of the angle and c of the shift against SNR, e resolution against the number of images, f angles and
    g averages of pure noise (`control` is noise, or null for the chance distribution). Panel d comes from the examples.

    Args:
        metrics: as `study.tables.read_metrics` returns it.
        headline_snr: signal-to-noise ratio of panel e.
        registry: of the estimators, in whose order the points of a panel stand.
    """
    table = with_condition_columns(metrics, ("alignment", "noise", "particle", "stage", "control"), ("snr", "images"))
    table = table[table["stage"].isna()]
    metric, is_mean, control = table["metric"], table["statistic"] == "mean", table["control"].notna()
    over_particles = (table["particle"] == "all") & ~control
    errors = over_particles & is_mean & table["alignment"].notna()
    of_headline = over_particles & (table["noise"] == "white") & (table["snr"] == headline_snr)
    panels = {
        "b": errors & (metric == ANGLE),
        "c": errors & (metric == SHIFT),
        "e": of_headline & table["images"].notna() & (metric == RESOLUTION),
        "f": control & (is_mean & (metric == ANGLE) | (metric == OWN_LOSS)),
        "g": control & (metric == CORRELATION),
    }
    means = []
    for panel, rows in panels.items():
        groups = table[rows].groupby(KEYS, dropna=False, sort=False)[["value", "low", "high", "n"]]
        means.append(groups.mean().reset_index().assign(panel=panel))
    points = pd.concat(means)
    names = registry.ordered(points["estimator"])
    ordered = points.assign(place=points["estimator"].map(names.index)).sort_values(["panel", "place"], kind="stable")
    return ordered[COLUMNS].reset_index(drop=True)


def draw(table: pd.DataFrame, examples: Mapping[str, np.ndarray], registry: Registry) -> Figure:
    """The figure: a class averages, b and c errors against SNR, d histograms, e resolution against N, f and g noise."""
    rows = min(PARTICLES_SHOWN, len(examples["particles"]))
    figure = figures.new_figure(figures.PAGE_MM, 120.0 + 26.0 * rows)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[26.0 * rows, 54.0, 66.0])
    _draw_averages(top, examples, registry)
    angles, shifts, histogram = middle.subplots(1, 3)
    _by_snr(angles, table[table["panel"] == "b"], "mean error mod 180 (°)", registry)
    _by_snr(shifts, table[table["panel"] == "c"], "mean shift error (px)", registry)
    _draw_histogram(histogram, examples, registry)
    handles, labels = angles.get_legend_handles_labels()
    middle.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // 2))
    growth, noise_angles, noise_averages = bottom.subplots(1, 3)
    _by_images(growth, table[table["panel"] == "e"], registry)
    _draw_control(noise_angles, table[table["panel"] == "f"], registry)
    noise_angles.axhline(CHANCE_DEG, color="0.7", linewidth=0.6)
    noise_angles.set(ylabel="mean error mod 180 (°)", title="angles of pure noise", ylim=(0, 60))
    _draw_control(noise_averages, table[table["panel"] == "g"], registry)
    noise_averages.set(ylabel="correlation with a particle", title="averages of pure noise")
    highest = table.loc[table["panel"] == "g", ["value", "high"]].max().max()
    noise_averages.set_ylim(0, 1.15 * highest if highest > 0 else 1)
    for axis, text in zip((angles, shifts, histogram, growth, noise_angles, noise_averages), "bcdefg", strict=True):
        figures.letter(axis, text)
    return figure


def _draw_averages(figure: SubFigure, examples: Mapping[str, np.ndarray], registry: Registry) -> None:
    """One row per particle shown: a noisy image, the noise-free one and the averages, each with its own grey scale."""
    names = examples["estimators"].tolist()
    shown = [names.index(name) for name in registry.ordered(names)]
    particles = examples["particles"].tolist()[:PARTICLES_SHOWN]
    axes = figure.subplots(len(particles), 2 + len(shown), squeeze=False)
    for row, (line, particle) in enumerate(zip(axes, particles, strict=True)):
        images = [examples["noisy"][row], examples["centres"][row], *examples["averages"][shown, row]]
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image)
        line[0].set_ylabel(particle)
    titles = [f"SNR {float(examples['headline_snr']):g}", "clean", *(names[place] for place in shown)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figures.without_ticks(axes)
    figures.scale_bar(axes[0, 0], float(examples["pixel_size_a"][0]))
    figures.letter(axes[0, 0], "a")


def _by_snr(axis: Axes, points: pd.DataFrame, label: str, registry: Registry) -> None:
    """One curve per estimator and alignment (dotted: pairwise); filled markers: white noise, hollow: coloured noise."""
    offsets: dict[tuple[str, str], float] = {}
    labels = _labels(points)
    for (name, alignment, noise), line in points.groupby(["estimator", "alignment", "noise"], sort=False):
        if noise == "white":
            factor, looks = 1.0, {"linestyle": LINES[alignment], "label": labels[name, alignment]}
        else:
            # Shifted along the abscissa, so that hollow markers do not hide each other
            factor = offsets.setdefault((name, alignment), 1.06 + 0.05 * len(offsets))
            looks = {"linestyle": "none", "markerfacecolor": "white"}
        _draw_curve(axis, line.assign(snr=line["snr"] * factor), "snr", registry[name].looks | looks)
    _log_axes(axis, points["snr"])
    counts = sorted({int(count) for count in points["n"]})
    axis.set(xlabel="SNR (hollow: coloured noise)", ylabel=label)
    axis.set_title(f"n = {' or '.join(map(str, counts))} particles")


def _draw_histogram(axis: Axes, examples: Mapping[str, np.ndarray], registry: Registry) -> None:
    """Cumulative distribution: the fraction of errors below an angle."""
    edges = examples["edges_deg"]
    for (name, alignment), counts in zip(examples["curves"].tolist(), examples["counts"], strict=True):
        looks = registry[name].looks | {"marker": "", "linestyle": LINES[alignment]}
        axis.plot(edges[1:], np.cumsum(counts) / counts.sum(), **looks)
    axis.plot(edges[1:], edges[1:] / 90, color="0.7", linewidth=0.6)
    axis.set_xscale("log")
    axis.set(xlabel="error mod 180 (°)", ylabel="share below", ylim=(0, 1.02))
    axis.set_title(f"SNR {float(examples['headline_snr']):g}; grey: chance")


def _by_images(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    for name, line in points.groupby("estimator", sort=False):
        _draw_curve(axis, line, "images", registry[name].looks | {"label": name})
    axis.set(xlabel="images in the average", ylabel="FRC 0.5 with truth (Å)")
    _log_axes(axis, points["images"])
    axis.set_title(f"n = {int(points['n'].min())} particles")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.34), ncols=2)  # bars may fill the panel


def _log_axes(axis: Axes, measured: pd.Series) -> None:
    """Logarithmic axes, with ticks at the measured abscissas."""
    places = sorted(measured.unique())
    axis.set_xscale("log")
    axis.set_xticks(places, labels=[f"{place:g}" for place in places])
    axis.minorticks_off()
    figures.log_ordinate(axis)


def _draw_control(axis: Axes, points: pd.DataFrame, registry: Registry) -> None:
    """Each estimator's values for pure noise over a grey bar that shows the chance interval."""
    labels = _labels(points)
    texts = []
    groups = points.groupby(["estimator", "alignment"], dropna=False, sort=False)
    for place, ((name, alignment), group) in enumerate(groups):
        by_chance, noise = (group[group["control"] == control] for control in ("null", "noise"))
        bar = [by_chance["low"].min(), by_chance["high"].max()]
        axis.plot([place] * 2, bar, color="0.75", linewidth=6, solid_capstyle="butt")
        axis.plot([place] * len(noise), noise["value"], linestyle="none", **registry[name].looks)
        own_loss = (group["metric"] == OWN_LOSS).any()
        texts.append(f"{name}, its own loss" if own_loss else labels.get((name, alignment), name))
    axis.set_xticks(range(len(texts)), labels=texts, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_xlim(-0.6, len(texts) - 0.4)


def _labels(points: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Labels by estimator and alignment, which name the alignment where an estimator has both."""
    pairs = points[["estimator", "alignment"]].dropna().drop_duplicates().itertuples(index=False, name=None)
    both = points.groupby("estimator")["alignment"].nunique() > 1
    return {(name, alignment): f"{name}, {alignment}" if both[name] else name for name, alignment in pairs}


def _draw_curve(axis: Axes, line: pd.DataFrame, abscissa: str, looks: dict) -> None:
    """Values against the column `abscissa`, with error bars of length 0 where there is no interval."""
    line = line.sort_values(abscissa)
    axis.errorbar(line[abscissa], line["value"], yerr=figures.error_bars(line), capsize=1.5, **looks)


if __name__ == "__main__":
    Command(
        plot,
        Plot,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "examples": "Class averages and histograms of the stage evaluate (.npz).",
            "estimators": "Registry of the estimators: their order, colours and markers (estimators.yaml).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The data of its curves.",
        },
    ).main()
