"""Write the table of a method's results: all estimators under all conditions, with intervals, headline first."""

from collections.abc import Iterator, Sequence

import pandas as pd

from workflow_scripts.study.bootstrap import FEWEST
from workflow_scripts.study.by_source import read_by_source
from workflow_scripts.study.conditions import parse_condition
from workflow_scripts.study.documents import Section, write_documents
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.paired import paired_section, standings
from workflow_scripts.study.rounding import number, shown
from workflow_scripts.study.summaries import read_summary
from workflow_scripts.study.tables import headline_numbers, read_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import ScaleChoice

# Numbers with their intervals that fit side by side on a page
METRICS_SIDE_BY_SIDE = 4
KEYS = ["condition", "estimator", "metric", "statistic"]
COLUMNS = [*KEYS, "unit", "value", "low", "high", "n", "seeds", "headline", "shown"]


def publish(job: Job[ScaleChoice]) -> None:
    """Write the table as CSV, Markdown, LaTeX and a page."""
    metrics, by_source = read_metrics(job.input("metrics")), read_by_source(job.input("by_source"))
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
        f"bootstrap interval over sources, of which there are n; fewer than {FEWEST} have none, and paired differences "
        "then show the differences of the sources and p of an exact test of their signs. Seeds are averaged, value and "
        "bounds alike. Units stand in brackets, (1) for none; – was not measured."
    )
    if summary:
        condition = headline_condition(metrics, score.metric, score.statistic)
        introduction += f" The headline: {score.described(condition)}."
    parts = list(sections(table))
    for ranked in filter(None, (summary.cost_score, summary.score) if summary else ()):
        paired = standings(
            metrics,
            by_source,
            ranked.metric,
            ranked.statistic,
            ranked.condition,
            ranked.better,
            given_more=ranked.given_more,
        )
        parts.insert(1, paired_section(paired, ranked.metric, order))
    write_documents(job.outputs, title, introduction, parts)


def tidy(metrics: pd.DataFrame, order: Sequence[str] = (), first: str = "") -> pd.DataFrame:
    """One row for every estimator, condition, metric and statistic: the headline first, then the rest in order.

    Value and bounds are averaged over the seeds, as in the headline: an interval over sources does not shrink with
    seeds.

    Args:
        metrics: as `read_metrics` gives it.
        order: of the estimators; further ones follow.
        first: the metric that comes first; the others follow in alphabetical order.
    """
    table = (
        metrics.groupby(KEYS, sort=False)
        .agg(
            unit=("unit", "first"),
            value=("value", "mean"),
            low=("low", "mean"),
            high=("high", "mean"),
            n=("n", "min"),
            seeds=("seed", "nunique"),
            headline=("headline", "any"),
        )
        .reset_index()
    )
    table["shown"] = [shown(*row) for row in table[["value", "low", "high"]].itertuples(index=False)]
    orders = {
        "estimator": [*order, *sorted(set(table["estimator"]) - set(order))],
        "condition": sorted(set(table["condition"]), key=_natural),
        "metric": [first, *sorted(set(table["metric"]) - {first}, key=lambda name: _rank(name, first))],
    }
    ranked = table.assign(**{name: pd.Categorical(table[name], values) for name, values in orders.items()})
    ranked["later"] = ~table["headline"]
    return table.loc[ranked.sort_values(["later", "condition", "metric", "statistic", "estimator"]).index, COLUMNS]


def headline_condition(metrics: pd.DataFrame, metric: str, statistic: str = "value") -> dict[str, str]:
    """The keys and values that the headline conditions of all estimators share.

    metrics: as `read_metrics` gives it.
    """
    table = headline_numbers(metrics)
    chosen = table[(table["metric"] == metric) & (table["statistic"] == statistic)]
    pairs = [set(parse_condition(text).items()) for text in chosen["condition"]]
    return dict(sorted(set.intersection(*pairs))) if pairs else {}


def sections(table: pd.DataFrame) -> Iterator[Section]:
    """A tidy table as sections: the headline, then side by side the metrics measured under the same conditions."""
    if table["headline"].any():
        yield from _by_estimator(table[table["headline"]])
    for names in _side_by_side(table, ["condition"]):
        yield _section(_titled("All conditions", names), table, names, ["condition", "estimator"])


def _by_estimator(table: pd.DataFrame) -> Iterator[Section]:
    """The headline: metrics of several estimators side by side, those of a single estimator below each other."""
    estimators = table.groupby(["metric", "statistic"])["estimator"].transform("nunique")
    shared, alone = table[estimators > 1], table[estimators == 1]
    for names in _side_by_side(shared, []):
        yield _section(_titled("Headline", names), shared, names, ["estimator"])
    if len(alone):
        values = {"value [95 % interval]": alone["shown"], "n": alone["n"].astype(str)}
        rows = pd.DataFrame({"metric": metric_labels(alone), "estimator": alone["estimator"]} | values)
        yield Section("Headline: metrics of a single estimator", rows, texts=2)


def _side_by_side(table: pd.DataFrame, by: list[str]) -> Iterator[list[tuple[str, str]]]:
    """Metrics in groups that fit the width of a page; those of a group have the same values of `by`."""
    alike: dict[frozenset, list[tuple[str, str]]] = {}
    for name, part in table.groupby(["metric", "statistic"], sort=False):
        alike.setdefault(frozenset(part[by].itertuples(index=False, name=None)), []).append(name)
    for names in alike.values():
        for start in range(0, len(names), METRICS_SIDE_BY_SIDE):
            yield names[start : start + METRICS_SIDE_BY_SIDE]


def _section(title: str, table: pd.DataFrame, names: list[tuple[str, str]], by: list[str]) -> Section:
    chosen = table[pd.MultiIndex.from_frame(table[["metric", "statistic"]]).isin(names)]
    values = chosen.assign(head=metric_labels(chosen)).set_index([*by, "head"])["shown"]
    cells = values.unstack(sort=False, fill_value="–")
    sources = chosen.groupby(by, sort=False)["n"]
    cells["n"] = sources.agg(lambda n: " to ".join(map(str, sorted({n.min(), n.max()}))))
    cells = cells.reset_index().rename_axis(columns=None)
    if "condition" in by:
        cells["condition"] = readable_conditions(cells["condition"])
    return Section(title, cells, texts=len(by))


def _titled(start: str, names: list[tuple[str, str]]) -> str:
    return f"{start}: {', '.join(dict.fromkeys(metric for metric, _ in names))}"


def metric_labels(table: pd.DataFrame) -> pd.Series:
    """The metric of every row with its statistic and unit."""
    statistic = (", " + table["statistic"]).mask(table["statistic"] == "value", "")
    return table["metric"] + statistic + " (" + table["unit"] + ")"


def readable_conditions(conditions: pd.Series) -> pd.Series:
    """Conditions with spaces between their pairs; "any" for the empty one."""
    return conditions.str.replace(";", "; ", regex=False).replace("", "any")


def _rank(name: str, first: str) -> tuple:
    """Metrics whose names begin like the first one follow it; differences and ratios of metrics come last."""
    return ("_gain_" in name or "_over_" in name, not (first and name.startswith(first.split("_")[0])), name)


def _natural(condition: str) -> tuple:
    """Conditions of the same keys together, numbers as numbers, largest first."""
    pairs = parse_condition(condition)
    return tuple(pairs), tuple(map(_value, pairs.values()))


def _value(text: str) -> tuple:
    try:
        return (0, -float(text), "")
    except ValueError:
        return (1, 0.0, text)


if __name__ == "__main__":
    Command(
        publish,
        ScaleChoice,
        inputs={
            "metrics": "Metrics of the stage evaluate (.csv).",
            "by_source": "What every source contributes to them (.csv).",
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
