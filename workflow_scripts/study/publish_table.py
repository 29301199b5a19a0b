"""Write the table of a method's results: all estimators under all conditions, with intervals, headline first."""

from workflow_scripts.study.documents import write_documents
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.result_table import headline_condition, sections, tidy
from workflow_scripts.study.rounding import number
from workflow_scripts.study.summaries import read_summary
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import ScaleChoice


def publish(job: Job[ScaleChoice]) -> None:
    """Write the table as CSV, Markdown, LaTeX and a page."""
    metrics = read_metrics(job.input("metrics"))
    # results/<scale>/<method>/evaluate/metrics.csv
    method = job.input("metrics").parent.parent.name
    summary = read_summary(job.input("overview")) if "overview" in job.inputs else None
    order = list(read_registry(job.input("estimators")))
    table = tidy(metrics, order, summary.score.metric if summary else "")
    table.to_csv(job.outputs["csv"], index=False, lineterminator="\n", float_format=number)
    title = method if summary is None else f"{method}: {summary.title}"
    seeds, score = metrics["seed"].nunique(), summary and summary.score
    introduction = (
        f"Scale {job.arguments.scale}, {seeds} training seed{'' if seeds == 1 else 's'}. Values with their 95 % "
        "bootstrap interval over sources, of which there are n; seeds are averaged, value and bounds alike. Units "
        "stand in brackets, (1) for none; – was not measured."
    )
    if summary:
        condition = headline_condition(metrics, score.metric, score.statistic)
        introduction += f" The headline: {score.described(condition)}."
    write_documents(job.outputs, title, introduction, sections(table))


if __name__ == "__main__":
    Command(
        publish,
        ScaleChoice,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "estimators": "estimators.yaml of the method, whose order the table keeps.",
        },
        optional_inputs={"overview": "overview.yaml of the method, which names the metric that comes first."},
        outputs={
            "csv": "One row for every number (.csv).",
            "md": "The table as Markdown.",
            "tex": "The table as LaTeX, for booktabs and longtable.",
            "html": "The table as a page.",
        },
    ).main()
