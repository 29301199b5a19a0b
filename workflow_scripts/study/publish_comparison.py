"""Compare a run with the reference run of its scale, which git keeps in results/reference/<scale>."""

from pathlib import Path

from pydantic import Field

from workflow_scripts.study.comparison import COLUMNS, aligned, changed_settings, compared, difference_section
from workflow_scripts.study.documents import markdown
from workflow_scripts.study.rounding import number
from workflow_scripts.study.tables import read_metrics_by_method
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import ScaleChoice

# Lines of the table that a terminal shows
SHORT = 20


class Arguments(ScaleChoice):
    """The two runs to compare."""

    folder: str = Field(min_length=1, description="results/<scale>, whose provenance names the settings.")
    reference_folder: str = Field(min_length=1, description="results/reference/<scale>.")


def publish(job: Job[Arguments]) -> None:
    """Write the differences as CSV, as Markdown, and in short for a terminal."""
    scale, folder = job.arguments.scale, job.arguments.reference_folder
    run, reference = (read_metrics_by_method(job.inputs.get(name, [])) for name in ("metrics", "reference"))
    differing, sentences = compared(run, reference)
    table = difference_section(differing)
    changed = []
    if reference:
        changed = changed_settings(Path(job.arguments.folder), Path(folder))
    else:
        sentences = [
            f"There is no reference run of the scale {scale} in {folder}, so there is nothing to compare with."
        ]
        if scale != "smoke":
            sentences.append(f"`make reference SCALE={scale}` keeps this run as one.")
    lines = [*sentences, *(["Settings that differ:", *changed] if changed else [])]
    sections = [table] if len(differing) else []
    text = markdown(f"Against the reference, scale {scale}", "\n\n".join(lines), sections)
    differing.reindex(columns=COLUMNS).to_csv(job.outputs["csv"], index=False, lineterminator="\n", float_format=number)
    job.outputs["md"].write_text(text, encoding="utf-8")
    short = [*lines, *(["", *aligned(table, SHORT)] if sections else [])]
    job.outputs["short"].write_text("\n".join(short) + "\n", encoding="utf-8")


if __name__ == "__main__":
    Command(
        publish,
        Arguments,
        inputs={"metrics": "Metrics of every method of this run (.csv)."},
        optional_inputs={"reference": "Metrics of every method of the reference (.csv)."},
        outputs={
            "csv": "What differs (.csv).",
            "md": "What differs, as Markdown.",
            "short": "The same for a terminal (.txt).",
        },
    ).main()
