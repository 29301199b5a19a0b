"""Draw the overview of the study: for every method what goes in, what comes out, who wins, and what it costs."""

from pathlib import Path

import pandas as pd

from workflow_scripts.study import drawing_overview
from workflow_scripts.study.drawing_overview import Shown
from workflow_scripts.study.estimators import Registry, read_registry
from workflow_scripts.study.figures import save_figure, style
from workflow_scripts.study.result_table import headline_condition
from workflow_scripts.study.summaries import pick, read_summary
from workflow_scripts.study.tables import read_metrics_by_method
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_all_arrays
from workflow_scripts.workflow.settings import ScaleChoice


def publish(job: Job[ScaleChoice]) -> None:
    """Write the figure in three formats and the table of its points."""
    tables = read_metrics_by_method(job.inputs["metrics"])
    registries = {path.parent.name: read_registry(path) for path in job.inputs["estimators"]}
    examples = {path.parent.parent.name: path for path in job.inputs["examples"]}  # <method>/evaluate/…
    overviews = {path.parent.name: path for path in job.inputs["overviews"]}  # <method>/overview.yaml
    shown = {
        method: _shown(path, registries[method], examples[method], tables[method]) for method, path in overviews.items()
    }
    table = drawing_overview.source_table(shown, tables, pd.read_csv(job.input("cost")))
    with style():
        # The four files of a figure share their stem.
        save_figure(drawing_overview.draw(table, shown), table, job.outputs["svg"].with_suffix(""))


def _shown(overview: Path, registry: Registry, examples: Path, metrics: pd.DataFrame) -> Shown:
    summary, arrays = read_summary(overview), read_all_arrays(examples)
    images = {name: pick(arrays, getattr(summary, name), examples) for name in ("goes_in", "comes_out", "truth")}
    sides = {
        name: float(pick(arrays, getattr(summary, name), examples)[0]) if getattr(summary, name) else None
        for name in ("pixel", "input_pixel")
    }
    return Shown(
        summary,
        registry,
        **{name: image for name, (image, _) in images.items()},
        answered_by="".join(images["comes_out"][1][:1]),
        at=summary.score.described(headline_condition(metrics, summary.score.metric, summary.score.statistic)),
        **sides,
    )


if __name__ == "__main__":
    Command(
        publish,
        ScaleChoice,
        inputs={
            "overviews": "overview.yaml of every method that the figure shows, in its order.",
            "estimators": "estimators.yaml of these methods.",
            "metrics": "Metrics of these methods (.csv).",
            "examples": "Arrays of these methods, of the stage evaluate (.npz).",
            "cost": "What the study cost (.csv).",
        },
        outputs={
            "svg": "The figure.",
            "pdf": "The figure, with its fonts.",
            "png": "The figure, 300 dpi.",
            "csv": "The table behind it.",
        },
    ).main()
