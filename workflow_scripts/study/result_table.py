"""All estimators under all conditions, with intervals: the table of a method, its headline first."""

from collections.abc import Iterator, Sequence

import pandas as pd

from workflow_scripts.study.conditions import parse_condition
from workflow_scripts.study.documents import Section
from workflow_scripts.study.rounding import shown
from workflow_scripts.study.tables import headline_numbers

# Numbers with their intervals that fit side by side on a page
METRICS_ABREAST = 4
KEYS = ["condition", "estimator", "metric", "statistic"]
COLUMNS = [*KEYS, "unit", "value", "low", "high", "n", "seeds", "headline", "shown"]


def tidy(metrics: pd.DataFrame, order: Sequence[str] = (), first: str = "") -> pd.DataFrame:
    """One row for every estimator, condition, metric and statistic: the headline first, then the rest in order.

    Over the seeds value and bounds are averaged, as in the headline: an interval over sources does not shrink with
    seeds.

    Args:
        metrics: as `read_metrics` gives it.
        order: of the estimators; those that it lacks follow.
        first: the metric that comes first; the others follow in alphabetical order.
    """
    groups = metrics.groupby(KEYS, sort=False)
    table = groups.agg(
        {
            "value": "mean",
            "low": "mean",
            "high": "mean",
            "unit": "first",
            "n": "min",
            "seed": "nunique",
            "headline": "any",
        }
    )
    table = table.rename(columns={"seed": "seeds"}).reset_index()
    table["shown"] = [shown(*row) for row in table[["value", "low", "high"]].itertuples(index=False)]
    keys = {
        "estimator": _places([*order, *sorted(set(table["estimator"]) - set(order))]),
        "condition": _places(sorted(set(table["condition"]), key=_natural)),
        "metric": _places([first, *sorted(set(table["metric"]) - {first}, key=lambda name: _rank(name, first))]),
    }
    place = pd.DataFrame({name: table[name].map(places) for name, places in keys.items()})
    place["statistic"] = table["statistic"]
    place["later"] = ~table["headline"]
    return table.loc[place.sort_values(["later", "condition", "metric", "statistic", "estimator"]).index, COLUMNS]


def headline_condition(metrics: pd.DataFrame, metric: str, statistic: str = "value") -> dict[str, str]:
    """The keys and values that the headline conditions of all estimators share.

    metrics: as `read_metrics` gives it.
    """
    table = headline_numbers(metrics)
    chosen = table[(table["metric"] == metric) & (table["statistic"] == statistic)]
    pairs = [set(parse_condition(text).items()) for text in chosen["condition"]]
    return dict(sorted(set.intersection(*pairs))) if pairs else {}


def sections(table: pd.DataFrame) -> Iterator[Section]:
    """A tidy table as sections: the headline, then metrics that were measured under the same conditions abreast."""
    if table["headline"].any():
        yield from _by_estimator(table[table["headline"]])
    for names in _abreast(table, ["condition"]):
        yield _section(_titled("All conditions", names), table, names, ["condition", "estimator"])


def _by_estimator(table: pd.DataFrame) -> Iterator[Section]:
    """The headline: metrics that several estimators have abreast, those of one estimator alone below each other."""
    answering = table.groupby(["metric", "statistic"])["estimator"].transform("nunique")
    shared, alone = table[answering > 1], table[answering == 1]
    if len(shared):
        for names in _abreast(shared, []):
            yield _section(_titled("Headline", names), shared, names, ["estimator"])
    if len(alone):
        yield Section(
            "Headline: what one estimator alone has",
            ["metric", "estimator", "value [95 % interval]", "n"],
            [[metric_label(row), row.estimator, row.shown, str(row.n)] for row in alone.itertuples()],
            texts=2,
        )


def _abreast(table: pd.DataFrame, by: list[str]) -> Iterator[list[tuple[str, str]]]:
    """Metrics in groups of a page's width; those of a group have the same values of `by`."""
    alike: dict[frozenset, list[tuple[str, str]]] = {}
    for name, part in table.groupby(["metric", "statistic"], sort=False):
        alike.setdefault(frozenset(part[by].itertuples(index=False, name=None)), []).append(name)
    for names in alike.values():
        for start in range(0, len(names), METRICS_ABREAST):
            yield names[start : start + METRICS_ABREAST]


def _section(title: str, table: pd.DataFrame, names: list[tuple[str, str]], by: list[str]) -> Section:
    chosen = table[pd.MultiIndex.from_frame(table[["metric", "statistic"]]).isin(names)]
    heads = {
        (row.metric, row.statistic): metric_label(row)
        for row in chosen.drop_duplicates(["metric", "statistic"]).itertuples()
    }
    rows: dict[tuple, dict] = {}
    for row in chosen.itertuples():
        line = rows.setdefault(tuple(getattr(row, key) for key in by), {"n": set()})
        line[row.metric, row.statistic] = row.shown
        line["n"].add(int(row.n))
    cells = [
        [
            *(text.replace(";", "; ") or "any" for text in key),
            *(line.get(name, "–") for name in heads),
            " to ".join(map(str, sorted({min(line["n"]), max(line["n"])}))),
        ]
        for key, line in rows.items()
    ]
    return Section(title, [*by, *heads.values(), "n"], cells, texts=len(by))


def _titled(start: str, names: list[tuple[str, str]]) -> str:
    return f"{start}: {', '.join(dict.fromkeys(metric for metric, _ in names))}"


def metric_label(row) -> str:
    """A metric with its statistic and unit."""
    return f"{row.metric}{'' if row.statistic == 'value' else f', {row.statistic}'} ({row.unit})"


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


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
