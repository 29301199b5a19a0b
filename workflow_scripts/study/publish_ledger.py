"""Write the ledger of claims: what somebody stated, beside what this run measured."""

import html
from typing import Literal

import pandas as pd
from pydantic import Field

from workflow_scripts.study.ledger import make_ledger, read_claims
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Settings

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: .35em .6em; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
td:nth-child(2), td:nth-child(9), td:last-child { min-width: 14em; } td { max-width: 24em; }
th { border-bottom: 2px solid #444; } td { border-bottom: 1px solid #ccc; }
.yes { color: #00694c; font-weight: 600; } .no { color: #b03a00; font-weight: 600; } .not-measured { color: #777; }
"""


class Arguments(Settings):
    """Which study this is."""

    scale: Literal["smoke", "laptop", "gpu", "paper"] = Field(description="Scale of the metrics.")


def publish(job: Job[Arguments]) -> None:
    """Write the ledger as CSV and as a page."""
    claims = [claim for path in job.inputs["claims"] for claim in read_claims(path, path.parent.name)]
    # results/<scale>/<method>/evaluate/metrics.csv
    metrics = {path.parent.parent.name: read_metrics(path) for path in job.inputs["metrics"]}
    ledger = make_ledger(claims, metrics, job.arguments.scale)
    ledger.to_csv(job.outputs["csv"], index=False, lineterminator="\n")
    job.outputs["html"].write_text(page(ledger, job.arguments.scale), encoding="utf-8")


def page(ledger: pd.DataFrame, scale: str) -> str:
    """The ledger as one HTML page that needs nothing else."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in ledger.columns)
    rows = []
    for row in ledger.to_dict("records"):
        verdict = row["holds"].replace(" ", "-")
        cells = (
            f'<td class="{verdict}">{row[column]}</td>' if column == "holds" else f"<td>{html.escape(row[column])}</td>"
            for column in ledger.columns
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Ledger of claims</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Ledger of claims, scale {html.escape(scale)}</h1>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table></body></html>\n"
    )


if __name__ == "__main__":
    Command(
        publish,
        Arguments,
        inputs={
            "claims": "claims.yaml of every method.",
            "metrics": "metrics.csv of every method.",
        },
        outputs={"csv": "The ledger (.csv).", "html": "The ledger as a page (.html)."},
    ).main()
