"""by_source.csv: the sources behind the means of metrics.csv, and differences that are paired over them."""

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.by_source import (
    COLUMNS,
    MANY,
    paired_difference,
    read_by_source,
    sources_under,
    write_by_source,
)
from workflow_scripts.study.tables import HEADLINE, metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.errors import InputError

FULL, LOW = "dose_e=1000", "dose_e=100"


def rows(estimator="corrected", shift=0.0, n=4, seeds=(0, 1), names="abcdefghijklmnopqrstuvwxyz"):
    """Mean errors of two seeds at two doses, over weighted sources; the sources differ more than the estimators."""
    weights = np.arange(1.0, n + 1)
    return [
        metric_row(
            estimator,
            "error",
            "rad",
            bootstrap(pd.Series(10 * np.arange(n) + shift + (seed or 0), list(names[:n])), weights=weights, seed=0),
            condition=where,
            seed=seed,
            statistic="mean",
        )
        for where in (FULL, LOW)
        for seed in seeds
    ]


def written(table, path):
    write_metrics(with_headline(table, FULL), path / "metrics.csv")
    write_by_source(with_headline(table, FULL), path / "by_source.csv")
    return read_by_source(path / "by_source.csv"), read_metrics(path / "metrics.csv")


def test_the_weighted_mean_of_the_sources_is_the_number_in_the_metrics(tmp_path):
    by_source, metrics = written(rows() + rows("ridge", 1.0, seeds=(None,)), tmp_path)
    assert list(by_source) == COLUMNS
    for row in metrics.itertuples():
        same = (by_source["estimator"] == row.estimator) & (by_source["condition"] == row.condition)
        of_row = by_source[same & (by_source["seed"].isna() if pd.isna(row.seed) else by_source["seed"] == row.seed)]
        assert len(of_row) == row.n == 4
        assert np.average(of_row["value"], weights=of_row["weight"]) == pytest.approx(row.value, rel=1e-5)


def test_equal_rows_give_equal_bytes_and_other_statistics_are_left_out(tmp_path):
    table = rows()
    median = metric_row("corrected", "error", "rad", 3.0, condition=FULL, seed=0, statistic="median")
    share = metric_row("zeros", "share", "1", 0.5, condition=FULL)
    write_by_source(table, tmp_path / "first.csv")
    write_by_source([*table[::-1], median, share], tmp_path / "second.csv")
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    write_by_source([share], tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert read_by_source(tmp_path / "none.csv").empty


def test_off_the_headline_only_what_stays_small_is_listed(tmp_path):
    many = [str(number) for number in range(MANY + 1)]
    by_source, _ = written(rows(n=MANY + 1, names=many), tmp_path)
    assert set(by_source["condition"]) == {FULL}
    write_by_source(with_headline(rows(), FULL), tmp_path / "few.csv", everywhere=("other",))
    assert set(read_by_source(tmp_path / "few.csv")["condition"]) == {FULL}


def test_the_headline_of_every_estimator_is_found(tmp_path):
    table = with_headline(rows(), FULL) + with_headline(rows("ridge", 1.0), LOW)
    write_metrics(table, tmp_path / "metrics.csv")
    write_by_source(table, tmp_path / "by_source.csv")
    by_source, metrics = read_by_source(tmp_path / "by_source.csv"), read_metrics(tmp_path / "metrics.csv")
    chosen = sources_under(by_source, metrics, "error", HEADLINE)
    assert set(zip(chosen["estimator"], chosen["condition"], strict=True)) == {("corrected", FULL), ("ridge", LOW)}
    assert set(sources_under(by_source, metrics, "error", LOW)["condition"]) == {LOW}
    assert sources_under(by_source, metrics, "other", HEADLINE).empty


def split(by_source):
    at_full = by_source[by_source["condition"] == FULL]
    return (at_full[at_full["estimator"] == name] for name in ("corrected", "ridge"))


def test_a_paired_difference_does_not_feel_how_the_sources_differ(tmp_path):
    by_source, metrics = written(rows(n=14) + rows("ridge", 2.0, n=14, seeds=(0,)), tmp_path)
    difference = paired_difference(*split(by_source))
    # Seeds are averaged first: corrected has 0 and 1, ridge has 0.
    assert difference.estimate.value == pytest.approx(-1.5) and difference.estimate.n == 14
    assert (difference.estimate.low, difference.estimate.high) == pytest.approx((-1.5, -1.5))
    assert np.isnan(difference.p)
    values = metrics[metrics["condition"] == FULL].groupby("estimator")["value"].mean()
    assert difference.estimate.value == pytest.approx(values["corrected"] - values["ridge"], rel=1e-4)
    alone = metrics[metrics["estimator"] == "ridge"].iloc[0]
    assert alone["high"] - alone["low"] > 20


def test_few_sources_are_tested_by_their_signs(tmp_path):
    by_source, _ = written(rows(n=6) + rows("ridge", 2.0, n=6), tmp_path)
    difference = paired_difference(*split(by_source))
    assert difference.p == 2 / 64 and np.isnan(difference.estimate.low)
    assert str(difference) == "-2.00 (-2.00 to -2.00; p = 0.031)"
    assert difference.can_decide and difference.is_significant
    half = paired_difference(*split(by_source), factor=0.5)
    assert half.estimate.sources["value"].tolist() == pytest.approx([5 * k - 1 + 0.25 for k in range(6)])


def test_only_common_sources_of_one_weight_are_compared(tmp_path):
    by_source, _ = written(rows(n=4) + rows("ridge", n=6), tmp_path)
    first, second = split(by_source)
    of_few = paired_difference(first, second)
    assert of_few.estimate.n == 4 and not of_few.can_decide and not of_few.is_significant
    assert str(of_few) == "0 (0, 0, 0, 0; p = 1)"
    with pytest.raises(InputError, match="no common source of corrected and ridge"):
        paired_difference(first[first["source"] == "a"], second[second["source"] == "b"])
    with pytest.raises(InputError, match="differently"):
        paired_difference(first, second.assign(weight=1.0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("estimator,", "name,", "has the columns"),
        (",0,1\n", ",many,1\n", "value that is not a finite number"),
        (",0,1\n", ",0,\n", "weight that is not a finite number"),
        (",0,1\n", ",0,-1\n", "negative weight: .*source=a"),
        (",rad,b,", ",rad,a,", "source twice"),
        (",rad,a,", ",rad,,", "empty source"),
        ("dose_e=100,", "dose 100,", "key=value"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(old, new, message, tmp_path):
    path = tmp_path / "by_source.csv"
    write_by_source(rows(), path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message) as raised:
        read_by_source(path)
    assert "\n" not in str(raised.value).strip()
