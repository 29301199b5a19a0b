"""Write the pages of the report that are words: the methods' questions, data and recipes, and where all came from."""

import html
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from workflow_scripts.study.documents import Section, html_table, page, whole_page
from workflow_scripts.study.summaries import Summary, read_summary
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.settings import Settings
from workflow_scripts.workflow.stages import STAGES

PARTS = ("question", "data", "published", "corrected", "baselines")
# Settings of a stage are listed up to this length; the JSON beside the artifact has the rest.
LONGEST = 60


class Arguments(Settings):
    """Which study this is."""

    scale: Literal["smoke", "laptop", "gpu", "paper"] = Field(description="Scale of the study.")
    folder: str = Field(min_length=1, description="results/<scale>, whose provenance is read.")


def publish(job: Job[Arguments]) -> None:
    """Write both pages."""
    summaries = {path.parent.name: read_summary(path) for path in job.inputs["overviews"]}
    job.outputs["methods"].write_text(methods_page(summaries), encoding="utf-8")
    records = read_records(Path(job.arguments.folder))
    job.outputs["runs"].write_text(provenance_page(records, job.arguments.scale), encoding="utf-8")


def methods_page(summaries: dict[str, Summary]) -> str:
    """Every method in words: what is asked, of which data, and who answers."""
    parts = []
    for method, summary in summaries.items():
        rows = [[part, getattr(summary, part)] for part in PARTS]
        rows.append(["headline", f"{summary.score.label}; {summary.score.better} is better"])
        parts.append(f"<h2>{html.escape(f'{method}: {summary.title}')}</h2>")
        parts.append(html_table(Section("", ["", ""], rows, texts=2)))
    return whole_page("The methods", "\n".join(parts))


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The provenance of all jobs of the study, without that of the user's own data."""
    paths = (path for path in sorted(folder.rglob("*provenance.json")) if "apply" not in path.relative_to(folder).parts)
    return [read_json(path) for path in paths]


def provenance_page(records: Sequence[dict[str, Any]], scale: str) -> str:
    """When and on what the jobs ran, with which versions, and the settings of every stage."""
    versions = Counter(f"{name} {version}" for record in records for name, version in record["versions"].items())
    devices = Counter(record["device"] for record in records)
    locks = {record["environment_lock"][:12] for record in records}
    code = {name: digest for record in records for name, digest in record["code"].items()}
    started = sorted(record["started"] for record in records)
    facts = [
        ["jobs with provenance", str(len(records))],
        ["first and last start", " to ".join(dict.fromkeys([started[0], started[-1]])) if started else "none"],
        ["devices", ", ".join(f"{name} ({count} jobs)" for name, count in sorted(devices.items()))],
        ["envs/lock.txt, SHA-256", ", ".join(sorted(locks))],
        ["project files that ran", str(len(code))],
        ["versions", ", ".join(sorted(versions))],
    ]
    introduction = (
        f"Scale {scale}. Beside every artifact lies a provenance.json with settings, hashes of inputs, outputs, code "
        "and lock, the device and the versions; `snakemake verify` checks a results folder against it."
    )
    parts = [Section("The run", ["", ""], facts, texts=2), *_settings(records)]
    return page("Provenance", introduction, parts)


def _settings(records: Sequence[dict[str, Any]]) -> Iterator[Section]:
    """The settings of every method's stages; where jobs of a stage differ, all values."""
    found: dict[str, dict[str, dict[str, set[str]]]] = {}
    for record in records:
        _, method, stage = record["module"].split(".")[:3]
        if stage in STAGES:
            keys = found.setdefault(method, {}).setdefault(stage, {})
            for key, value in record["settings"].items():
                keys.setdefault(key, set()).add(str(value))
    for method, stages in found.items():
        rows = [
            [stage, key, _short(", ".join(sorted(stages[stage][key])))]
            for stage in STAGES
            for key in sorted(stages.get(stage, {}))
        ]
        yield Section(f"Settings: {method}", ["stage", "setting", "value"], rows, texts=3)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


if __name__ == "__main__":
    Command(
        publish,
        Arguments,
        inputs={
            "overviews": "overview.yaml of every method that describes itself.",
            "cost": "What the study cost (.csv): its jobs are done.",
        },
        outputs={
            "methods": "The methods in words (.html).",
            "runs": "Where all of it came from (.html).",
        },
    ).main()
