"""Write the ledger of claims: every claimed number with what this run measured, and whether the claim holds.

The claims are in claims.yaml beside the code of every method. A claim is evaluated only at its scale and under its
condition; everything else reads "not measured". What the sources cannot decide is "undecided";
a number without an interval is compared with a number by its value alone, which the verdict says.
"""

import html
import math
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field, ValidationError

from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.by_source import (
    MEANS,
    SIGNIFICANT,
    Difference,
    paired_difference,
    read_by_source_by_method,
    sources_under,
)
from workflow_scripts.study.documents import html_table, whole_page
from workflow_scripts.study.rounding import number
from workflow_scripts.study.summaries import canonical
from workflow_scripts.study.tables import read_metrics_by_method, under
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import Scale, ScaleChoice, Settings, first_mistake, read_yaml

NOT_MEASURED, UNDECIDED = "not measured", "undecided"
WORDS = {"yes": "holds", "no": "fails", UNDECIDED: UNDECIDED}
LEDGER_COLUMNS = [
    *("method", "claim", "metric", "unit", "stated", "published", "corrected", "baseline"),
    *("target", "holds", "verdict", "computed", "source"),
]
HEADS = {
    **{name: name for name in ("claim", "verdict", "stated", "published", "corrected", "baseline")},
    "target": "target (scale; condition)",
    "computed": "how it is computed",
    "source": "source",
}
COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


class Target(Settings):
    """The criterion of a claim: the arm's value compared with a number, or with a multiple of another estimator's."""

    arm: str = Field(default="corrected", description="estimator whose value is compared")
    op: Literal[">=", "<=", ">", "<", "~"] = Field(description="comparison; ~ means within the tolerance")
    value: float = Field(description="number to reach in the claim's unit, or factor where `of` is given")
    of: str | None = Field(default=None, description="estimator whose value the factor multiplies")
    plus: float = Field(default=0.0, description="added to that multiple, claim's unit")
    tolerance: float | None = Field(default=None, gt=0, description="for ~: largest difference, claim's unit")

    def model_post_init(self, _context) -> None:
        if (self.op == "~") != (self.tolerance is not None):
            raise ValueError("tolerance belongs to op ~, and only to it")
        if self.op == "~" and self.of:
            raise ValueError("op ~ compares with a number, not with an estimator")
        if self.plus and not self.of:
            raise ValueError("plus belongs to a multiple of an estimator")

    def __str__(self) -> str:
        return f"{self.arm} {self.op} {self.goal}" + (f" ± {number(self.tolerance)}" if self.tolerance else "")

    @property
    def goal(self) -> str:
        """The number, or the multiple of another estimator's: ``1 × ridge + 10``."""
        plus = f" + {number(self.plus)}" if self.plus else ""
        return number(self.value) if self.of is None else f"{number(self.value)} × {self.of}{plus}"

    def holds(self, value: float, goal: float) -> bool:
        """Whether a value meets the goal."""
        if self.op == "~":
            return abs(value - goal) <= self.tolerance
        return COMPARISONS[self.op](value, goal)

    def decided(self, measured: Estimate, goal: float, p: float = math.nan) -> str:
        """Whether a value meets the goal for certain ("yes"), certainly not ("no"), or "undecided".

        By its interval, all of which must lie on one side; without one by p, of the hypothesis that it is at the goal.
        """
        if not math.isfinite(measured.low):
            return ("yes" if self.holds(measured.value, goal) else "no") if p <= SIGNIFICANT else UNDECIDED
        ends = {self.holds(bound, goal) for bound in (measured.low, measured.high)}
        # An interval wider than the tolerance has both ends outside and the goal inside.
        if len(ends) == 2 or (self.op == "~" and ends == {False} and measured.low < goal < measured.high):
            return UNDECIDED
        return "yes" if ends == {True} else "no"


class Claim(Settings):
    """A number that somebody stated, or a target that we set, with how it is computed."""

    method: str = Field(description="method the claim is about")
    claim: str = Field(min_length=1, description="what is claimed, in one sentence")
    metric: str = Field(min_length=1, description="name of the metric in metrics.csv")
    statistic: str = Field(default="value", description="statistic in metrics.csv")
    unit: str = Field(min_length=1, description="unit in metrics.csv; '1' for none")
    stated: float | None = Field(default=None, description="number as stated, if there is one")
    condition: Annotated[str, AfterValidator(canonical)] = Field(description="condition in metrics.csv, or `headline`")
    scale: Scale = Field(description="scale that the claim is about")
    baseline: str | None = Field(default=None, description="estimator to show beside the two variants")
    target: Target = Field(description="when the claim holds")
    computed: str = Field(min_length=1, description="how the number was or is computed")
    source: str = Field(min_length=1, description="who stated it, and where")
    outside: str | None = Field(
        default=None,
        min_length=1,
        description="what was measured outside the DAG, and by what; for numbers it never gives",
    )

    @property
    def unit_suffix(self) -> str:
        """The unit after a number; empty for a number without one."""
        return "" if self.unit == "1" else f" {self.unit}"


def read_claims(path: Path, method: str) -> list[Claim]:
    """The claims of one method from its claims.yaml; raises InputError naming the claim and the key."""
    entries = read_yaml(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} is not a list of claims; expected entries that start with '- claim: …'.")
    claims = []
    for place, entry in enumerate(entries, start=1):
        try:
            claims.append(Claim.model_validate({**entry, "method": method}))
        except ValidationError as error:
            name = entry.get("claim", "without a name")
            raise InputError(f"{path}, claim {place} ({name}): {first_mistake(error)}") from error
    names = [claim.claim for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} holds the claim {name!r} twice; give each its own sentence.")
    return claims


def make_ledger(
    claims: Sequence[Claim],
    metrics_by_method: Mapping[str, pd.DataFrame],
    scale: str,
    sources_by_method: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> pd.DataFrame:
    """One row per claim, all as text: what was stated, what was measured at this scale, whether it holds.

    metrics_by_method, sources_by_method: tables as `read_metrics` and `read_by_source` give them. Values of several
    seeds are averaged.
    """
    rows = []
    for claim in claims:
        table, sources = metrics_by_method.get(claim.method), sources_by_method.get(claim.method)
        baseline = _measured(table, claim, claim.baseline) if claim.baseline else None
        rows.append(
            {
                **claim.model_dump(include={"method", "claim", "metric", "unit", "computed", "source"}),
                "stated": "" if claim.stated is None else number(claim.stated),
                "published": _shown(_measured(table, claim, "published")),
                "corrected": _shown(_measured(table, claim, "corrected")),
                "baseline": f"{claim.baseline}: {_shown(baseline)}" if claim.baseline else "",
                "target": f"{claim.target} ({claim.scale}; {claim.condition or 'any condition'})",
                **dict(zip(("holds", "verdict"), evaluated(claim, table, scale, sources), strict=True)),
            }
        )
    return pd.DataFrame(rows, columns=LEDGER_COLUMNS)


def _shown(measured: Estimate | None) -> str:
    return NOT_MEASURED if measured is None else number(measured.value)


def _measured(table: pd.DataFrame | None, claim: Claim, estimator: str) -> Estimate | None:
    """The claim's metric under its condition, value and bounds averaged over seeds; None where it was not measured."""
    if table is None:
        return None
    rows = under(table, claim.condition)
    rows = rows[
        (rows["estimator"] == estimator) & (rows["metric"] == claim.metric) & (rows["statistic"] == claim.statistic)
    ]
    if rows.empty:
        return None
    units = set(rows["unit"])
    if units != {claim.unit}:
        raise InputError(
            f"The claim {claim.claim!r} is in {claim.unit!r}, but metrics.csv of {claim.method} gives "
            f"{claim.metric} in {', '.join(sorted(units))!r}; correct the unit in claims.yaml."
        )
    bounds = (float(rows[name].mean(skipna=False)) for name in ("value", "low", "high"))
    return Estimate(*bounds, n=int(rows["n"].min()))


def evaluated(
    claim: Claim, table: pd.DataFrame | None, scale: str, sources: pd.DataFrame | None = None
) -> tuple[str, str]:
    """Whether a claim holds ("yes", "no", "undecided" or "not measured"), and the same in words.

    table, sources: metrics and sources of the claim's method at this scale, None where there are none.
    """
    target = claim.target
    if claim.outside:
        return NOT_MEASURED, f"not measured by the study; outside it: {claim.outside}"
    if scale != claim.scale:
        return NOT_MEASURED, f"not measured at this scale: the claim is about {claim.scale}"
    measured = _measured(table, claim, target.arm)
    if measured is None:
        return NOT_MEASURED, f"not measured: this run has no such number of {target.arm}"
    reference = None if target.of is None else _measured(table, claim, target.of)
    if target.of and reference is None:
        return NOT_MEASURED, f"not measured: this run has no such number of {target.of} to compare with"
    if target.of == "published":
        # A ratio to a recipe that is worse than zeros is meaningless.
        zeros = _measured(table, claim, "zeros")
        better = COMPARISONS["<" if target.op.startswith("<") else ">"]
        if zeros is None or not better(reference.value, zeros.value):
            return NOT_MEASURED, "not judged: published is no better than zeros, so a ratio to it says nothing"
    goal = target.value if reference is None else target.value * reference.value + target.plus
    verdict, evidence = _judged(target, measured, goal, _difference(claim, table, sources))
    return verdict, f"{_in_words(WORDS[verdict], claim, measured.value, goal)}; {evidence}"


def _judged(target: Target, measured: Estimate, goal: float, difference: Difference | None) -> tuple[str, str]:
    """The verdict on a measured value, and what it rests on.

    A comparison with another estimator is decided by the paired difference over the sources: by its interval, or of
    few sources by the test of signs. One with a number is decided by the interval of the value. Where there is neither,
    the value alone decides.
    """
    if difference is not None:
        verdict = target.decided(difference.estimate, 0.0, difference.p)
        return verdict, f"paired difference {difference}, n = {difference.estimate.n}"
    if target.of is None and math.isfinite(measured.low):
        low, high = (_plain(bound, 4) for bound in (measured.low, measured.high))
        return target.decided(measured, goal), f"interval {low} to {high}, n = {measured.n}"
    return "yes" if target.holds(measured.value, goal) else "no", f"by its value alone, n = {measured.n}"


def _difference(claim: Claim, table: pd.DataFrame, sources: pd.DataFrame | None) -> Difference | None:
    """The paired difference that decides a claim about two estimators; None where the sources are not listed."""
    if claim.target.of is None or sources is None or claim.statistic not in MEANS:
        return None
    rows = sources_under(sources, table, claim.metric, claim.condition)
    arm, other = (rows[rows["estimator"] == name] for name in (claim.target.arm, claim.target.of))
    return None if arm.empty or other.empty else paired_difference(arm, other, claim.target.value, claim.target.plus)


def _in_words(verdict: str, claim: Claim, value: float, goal: float) -> str:
    """The verdict with its numbers: "fails: 1.1 % where < 1 % was set"."""
    target, unit = claim.target, claim.unit_suffix
    digits = 4
    # Numbers that differ must not look the same.
    while digits < 12 and value != goal and f"{value:.{digits}g}" == f"{goal:.{digits}g}":
        digits += 1
    measured, expected = (_plain(quantity, digits) for quantity in (value, goal))
    sign = "" if target.op == "~" else f"{target.op} "
    tolerance = f" ± {number(target.tolerance)}" if target.tolerance else ""
    of = "" if target.of is None else f", {target.goal},"
    return f"{verdict}: {measured}{unit} where {sign}{expected}{tolerance}{unit}{of} was set"


def _plain(value: float, digits: int) -> str:
    """A number with `digits` significant digits, without an exponent below 10⁷."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e7 else text


def publish(job: Job[ScaleChoice]) -> None:
    """Write the ledger as CSV and as a page."""
    claims = [claim for path in job.inputs["claims"] for claim in read_claims(path, path.parent.name)]
    sources = read_by_source_by_method(job.inputs["by_source"])
    ledger = make_ledger(claims, read_metrics_by_method(job.inputs["metrics"]), job.arguments.scale, sources)
    ledger.to_csv(job.outputs["csv"], index=False, lineterminator="\n")
    job.outputs["html"].write_text(page(ledger, job.arguments.scale), encoding="utf-8")


def page(ledger: pd.DataFrame, scale: str) -> str:
    """The ledger as one HTML page that needs nothing else: a table for every method, its verdicts counted."""
    parts = [f"<p>{counted(ledger)}</p>"]
    for method, part in ledger.groupby("method", sort=False):
        parts += [f"<h2>{html.escape(str(method))}</h2>", f"<p>{counted(part)}</p>"]
        parts.append(html_table(_cells(part), escape=False))
    return whole_page(f"Ledger of claims, scale {scale}", "\n".join(parts))


def counted(ledger: pd.DataFrame) -> str:
    """How many claims hold, fail, are undecided, and were not measured, in a sentence."""
    counts = ledger["holds"].value_counts()
    return (
        f"Of {len(ledger)} claims {counts.get('yes', 0)} hold, {counts.get('no', 0)} fail, "
        f"{counts.get(UNDECIDED, 0)} are undecided, and {counts.get(NOT_MEASURED, 0)} were not measured by this run."
    )


def _cells(ledger: pd.DataFrame) -> pd.DataFrame:
    """The columns of the page as HTML: the metric below its claim, the verdict in its colour."""
    cells = ledger[list(HEADS)].map(lambda text: html.escape(text.replace("; ", ";").replace(";", "; ")))
    metrics = ledger["metric"] + (" in " + ledger["unit"]).mask(ledger["unit"] == "1", "")
    colours = ledger["holds"].str.replace(" ", "-")
    return cells.assign(
        claim=cells["claim"] + "<br><small>" + metrics.map(html.escape) + "</small>",
        verdict='<span class="' + colours + '">' + cells["verdict"] + "</span>",
    ).rename(columns=HEADS)


if __name__ == "__main__":
    Command(
        publish,
        ScaleChoice,
        inputs={
            "claims": "claims.yaml of every method.",
            "metrics": "metrics.csv of every method.",
            "by_source": "by_source.csv of every method.",
        },
        outputs={"csv": "The ledger (.csv).", "html": "The ledger as a page (.html)."},
    ).main()
