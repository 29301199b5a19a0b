"""Draw the error of every estimator against the CPU time of its prediction, a panel for every method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.figures import (
    PAGE_MM,
    error_bars,
    letter,
    log_abscissa,
    log_ordinate,
    new_figure,
    save_figure,
    style,
)
from workflow_scripts.study.summaries import Score, read_summary
from workflow_scripts.study.tables import headline_numbers, read_metrics_by_method
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.settings import ScaleChoice

PANELS_PER_ROW, ROW_MM = 2, 55.0
COLUMNS = ["panel", "method", "estimator", "cpu_s", "metric", "unit", "value", "low", "high", "n"]
# Values that span more than this ratio have a logarithmic axis
WIDE = 8


class Arguments(ScaleChoice):
    """The study whose predictions are drawn."""

    folder: str = Field(min_length=1, description="results/<scale>, whose provenance is read.")


def publish(job: Job[Arguments]) -> None:
    """Write the figure in three formats and the table of its points."""
    folder = Path(job.arguments.folder)
    registries = {path.parent.name: read_registry(path) for path in job.inputs["estimators"]}
    summaries = {path.parent.name: read_summary(path) for path in job.inputs["overviews"]}
    scores = {method: summary.cost_score or summary.score for method, summary in summaries.items()}
    metrics = read_metrics_by_method(job.inputs["metrics"])
    seconds = {method: prediction_seconds(folder / method) for method in scores}
    table = source_table(scores, registries, metrics, seconds)
    with style():
        # The four files of a figure share their stem.
        save_figure(draw(table, scores, registries), table, job.outputs["svg"].with_suffix(""))


def prediction_seconds(folder: Path) -> dict[str, float]:
    """The CPU time of the stage predict by estimator, seconds, mean over the seeds; NaN where it was not recorded.

    folder: results/<scale>/<method>.
    """
    by_estimator: dict[str, list[float]] = {}
    for path in sorted(folder.glob("predict/*/seed*/provenance.json")):
        by_estimator.setdefault(path.parts[-3], []).append(read_json(path).get("cpu_time_s", np.nan))
    return {name: float(np.mean(times)) for name, times in by_estimator.items()}


def source_table(
    scores: Mapping[str, Score],
    registries: Mapping[str, Registry],
    metrics: Mapping[str, pd.DataFrame],
    seconds: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """The points: the score at the headline of every estimator that has a prediction, seeds averaged, and its CPU time.

    All arguments are by method; metrics as `read_metrics` gives them, seconds as `prediction_seconds`.
    """
    parts = []
    for panel, (method, score) in zip("abcdefghijklmnopqrstuvwxyz", scores.items(), strict=False):
        numbers = headline_numbers(metrics[method])
        numbers = numbers[(numbers["metric"] == score.metric) & (numbers["statistic"] == score.statistic)]
        points = numbers.assign(cpu_s=numbers["estimator"].map(seconds[method])).dropna(subset="cpu_s")
        points = points.set_index("estimator").loc[registries[method].ordered(points["estimator"])].reset_index()
        parts.append(points.assign(panel=panel, method=method))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def draw(table: pd.DataFrame, scores: Mapping[str, Score], registries: Mapping[str, Registry]) -> Figure:
    """The figure."""
    rows = -(-len(scores) // PANELS_PER_ROW)
    figure = new_figure(PAGE_MM, ROW_MM * rows)
    axes = figure.subplots(rows, PANELS_PER_ROW, squeeze=False).ravel()
    for axis in axes[len(scores) :]:
        axis.set_axis_off()
    for axis, (method, score) in zip(axes, scores.items(), strict=False):
        points = table[table["method"] == method]
        _draw_panel(axis, points, score, registries[method])
        axis.set_title(method, loc="left")
        if len(points):
            letter(axis, points["panel"].iloc[0])
    return figure


def _draw_panel(axis: Axes, points: pd.DataFrame, score: Score, registry: Registry) -> None:
    bars = error_bars(points)
    for place, (_, point) in enumerate(points.iterrows()):
        name = point["estimator"]
        looks = {"linestyle": "none", "label": name} | registry[name].looks
        axis.errorbar(point["cpu_s"], point["value"], bars[:, [place]], elinewidth=0.8, **looks)
    axis.margins(x=0.1)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=5.5, handletextpad=0.2)
    log_abscissa(axis)
    if (points["value"] > 0).all() and points["value"].max() > WIDE * points["value"].min():
        log_ordinate(axis)
    better = "better →" if score.better == "higher" else "← better"
    axis.set(xlabel="CPU time of the prediction (s)", ylabel=f"{score.label}\n{better}")


if __name__ == "__main__":
    Command(
        publish,
        Arguments,
        inputs={
            "overviews": "overview.yaml of every method that the figure shows, in its order.",
            "estimators": "estimators.yaml of these methods.",
            "metrics": "Metrics of these methods (.csv).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind it.",
        },
    ).main()
