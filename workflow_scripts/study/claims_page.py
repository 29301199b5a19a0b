"""docs/claims.md: the ledger as a document, from claims.yaml of every method and the reference runs that git keeps.

``python -m workflow_scripts.study.claims_page`` writes it; a test finds where it has drifted.
"""

from pathlib import Path

import pandas as pd

from workflow_scripts.study.by_source import read_by_source
from workflow_scripts.study.documents import Section, markdown
from workflow_scripts.study.ledger import NOT_MEASURED, UNDECIDED, Claim, evaluated, read_claims
from workflow_scripts.study.rounding import number
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.closure import ROOT

PAGE = "docs/claims.md"
REFERENCE = "results/reference"
SCALES = ("laptop", "workstation", "gpu", "paper")


def claims_page(root: Path = ROOT) -> str:
    """The page as Markdown: every claim with how it is computed and its verdict by the reference run of its scale."""
    metrics, sources = (
        {
            (path.parents[2].name, path.parents[1].name): read(path)
            for path in sorted((root / REFERENCE).glob(f"*/*/evaluate/{name}.csv"))
        }
        for name, read in (("metrics", read_metrics), ("by_source", read_by_source))
    )
    sections, verdicts = [], []
    for path in sorted((root / "workflow_scripts").glob("*/claims.yaml")):
        method, rows = path.parent.name, []
        for claim in read_claims(path, method):
            holds, verdict = _verdict(claim, metrics, sources)
            verdicts.append(holds)
            statistic = "" if claim.statistic == "value" else f", {claim.statistic}"
            rows.append(
                {
                    "claim": claim.claim,
                    "stated": "" if claim.stated is None else f"{number(claim.stated)}{claim.unit_suffix}",
                    "target, scale": f"{claim.target}, {claim.scale}",
                    "verdict": verdict if holds == NOT_MEASURED else f"**{verdict}**",
                    "how it is computed": f"`{claim.metric}`{statistic}; {claim.computed}",
                    "source": claim.source,
                }
            )
        sections.append(Section(method, pd.DataFrame(rows), texts=len(rows[0])))
    present = [scale for scale in SCALES if any(key[0] == scale for key in metrics)]
    counts = [verdicts.count(kind) for kind in ("yes", "no", UNDECIDED, NOT_MEASURED)]
    introduction = (
        "Every number that a source of the five studies stated, every expectation of ours about their recipes, and "
        "every target that we set, with how it is computed and what the reference runs measured. A claim is evaluated "
        'only at its scale and under its condition; everything else reads "not measured". A ratio to *published* '
        "counts only if *published* beats zeros. Two estimators are compared by their difference over the same "
        "sources: by its 95 % interval from 12 sources on, else by an exact test of its signs. A value is compared "
        "with a number by its interval, or where it has none by the value alone, which the verdict says. Where the "
        "interval or the test decides nothing, the claim is undecided.\n\n"
        f"Reference runs in `{REFERENCE}`: {', '.join(present) or 'none yet, so no claim is evaluated here'}. "
        f"Of {len(verdicts)} claims {counts[0]} hold, {counts[1]} fail, {counts[2]} are undecided, "
        f"{counts[3]} are not measured.\n\n"
        "This page is generated from `claims.yaml` of every method: `python -m workflow_scripts.study.claims_page`. "
        "Your run writes its ledger to `results/<scale>/claims.csv` and into the report."
    )
    return markdown("Claims", introduction, sections)


def _verdict(claim: Claim, metrics: dict, sources: dict) -> tuple[str, str]:
    run = claim.scale, claim.method
    if run not in metrics and not claim.outside:
        return NOT_MEASURED, f"not measured: no reference run of {claim.scale}"
    return evaluated(claim, metrics.get(run), claim.scale, sources.get(run))


def main() -> None:
    """Write the page."""
    (ROOT / PAGE).write_text(claims_page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
