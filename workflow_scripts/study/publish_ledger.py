"""Write the ledger of claims: every stated number beside what this run measured, and whether it holds."""

import html

import pandas as pd

from workflow_scripts.study.documents import whole_page
from workflow_scripts.study.ledger import make_ledger, read_claims
from workflow_scripts.study.tables import read_metrics_by_method
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import ScaleChoice

HEADS = {
    **{name: name for name in ("claim", "verdict", "stated", "published", "corrected", "baseline")},
    "target": "target (scale; condition)",
    "computed": "how it is computed",
    "source": "who says so",
}


def publish(job: Job[ScaleChoice]) -> None:
    """Write the ledger as CSV and as a page."""
    claims = [claim for path in job.inputs["claims"] for claim in read_claims(path, path.parent.name)]
    ledger = make_ledger(claims, read_metrics_by_method(job.inputs["metrics"]), job.arguments.scale)
    ledger.to_csv(job.outputs["csv"], index=False, lineterminator="\n")
    job.outputs["html"].write_text(page(ledger, job.arguments.scale), encoding="utf-8")


def page(ledger: pd.DataFrame, scale: str) -> str:
    """The ledger as one HTML page that needs nothing else: a table for every method, its verdicts counted."""
    parts = [f"<p>{counted(ledger)}</p>"]
    for method, part in ledger.groupby("method", sort=False):
        head = "".join(f"<th>{html.escape(text)}</th>" for text in HEADS.values())
        rows = "\n".join(f"<tr>{''.join(_cells(row))}</tr>" for row in part.to_dict("records"))
        parts.append(
            f"<h2>{html.escape(str(method))}</h2>\n<p>{counted(part)}</p>\n"
            f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
        )
    return whole_page(f"Ledger of claims, scale {scale}", "\n".join(parts))


def counted(ledger: pd.DataFrame) -> str:
    """How many claims hold, fail, and were not measured, in a sentence."""
    counts = ledger["holds"].value_counts()
    return (
        f"Of {len(ledger)} claims {counts.get('yes', 0)} hold, {counts.get('no', 0)} fail, and "
        f"{counts.get('not measured', 0)} were not measured by this run."
    )


def _cells(row: dict[str, str]) -> list[str]:
    kind = row["holds"].replace(" ", "-")
    unit = "" if row["unit"] == "1" else f" in {row['unit']}"
    texts = {name: html.escape(row[name].replace(";", "; ")) for name in HEADS}
    texts["claim"] += f"<br><small>{html.escape(row['metric'])}{html.escape(unit)}</small>"
    kinds = {"verdict": kind} | dict.fromkeys(("stated", "published", "corrected"), "number")
    return [
        f'<td class="{kinds[name]}">{text}</td>' if name in kinds else f"<td>{text}</td>"
        for name, text in texts.items()
    ]


if __name__ == "__main__":
    Command(
        publish,
        ScaleChoice,
        inputs={"claims": "claims.yaml of every method.", "metrics": "metrics.csv of every method."},
        outputs={"csv": "The ledger (.csv).", "html": "The ledger as a page (.html)."},
    ).main()
