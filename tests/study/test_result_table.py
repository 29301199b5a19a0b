"""The table of a method: everything that was measured, once, with the headline first."""

import pytest

from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.result_table import KEYS, headline_condition, sections, tidy
from workflow_scripts.study.tables import metric_row, read_metrics, with_headline, write_metrics

FULL, LOW = "dose_e=1000;kind=plain", "dose_e=100;kind=plain"


def metrics(path):
    rows = []
    for condition, shift in ((FULL, 0.0), (LOW, -0.2)):
        for seed in (0, 1):
            value = 0.9 + shift + 0.02 * seed
            rows.append(
                metric_row(
                    "corrected",
                    "r2",
                    "1",
                    Estimate(value, value - 0.05, value + 0.05, 7),
                    condition=condition,
                    seed=seed,
                )
            )
        rows.append(metric_row("zeros", "r2", "1", 0.0, condition=condition, n=7))
        rows.append(metric_row("zeros", "error", "rad", 0.5, condition=condition, n=7, statistic="mean"))
        rows.append(metric_row("corrected", "r2_gain_over_zeros", "1", 0.9 + shift, condition=condition, seed=0, n=7))
    write_metrics(with_headline(rows, FULL), path / "metrics.csv")
    return read_metrics(path / "metrics.csv")


def test_every_number_stands_in_it_once(tmp_path):
    table = metrics(tmp_path)
    results = tidy(table)
    assert not results.duplicated(KEYS).any()
    assert set(map(tuple, results[KEYS].to_numpy())) == set(map(tuple, table[KEYS].to_numpy()))
    cells = [cell for section in sections(results) for cell in section.table.to_numpy().flat]
    assert set(results["shown"]) <= set(cells)


def test_seeds_are_averaged_and_the_interval_does_not_shrink(tmp_path):
    row = tidy(metrics(tmp_path)).set_index(KEYS).loc[(LOW, "corrected", "r2", "value")]
    assert (row["value"], row["low"], row["high"]) == (pytest.approx(0.71), pytest.approx(0.66), pytest.approx(0.76))
    assert (row["seeds"], row["n"], row["shown"]) == (2, 7, "0.71 [0.66, 0.76]")


def test_the_reader_finds_the_headline_first_and_units_in_the_heads(tmp_path):
    results = tidy(metrics(tmp_path), ["zeros", "corrected"], "r2")
    assert results["headline"].iloc[0] and results["metric"].iloc[0] == "r2"
    first, second, *_ = sections(results)
    assert first.title == "Headline: r2"
    assert list(first.table) == ["estimator", "r2 (1)", "n"]
    assert first.table["estimator"].tolist() == ["zeros", "corrected"]
    assert "error, mean (rad)" in second.table["metric"].tolist()
    conditions = list(dict.fromkeys(results["condition"]))
    assert conditions == [FULL, LOW]


def test_a_method_without_a_described_order_has_a_table_too(tmp_path):
    assert len(list(sections(tidy(metrics(tmp_path))))) >= 3


def test_the_headline_has_the_condition_that_its_estimators_share(tmp_path):
    table = metrics(tmp_path)
    assert headline_condition(table, "r2") == {"dose_e": "1000", "kind": "plain"}
    assert headline_condition(table, "error", "mean") == {"dose_e": "1000", "kind": "plain"}
    assert headline_condition(table, "absent") == {}
    other = table["condition"] == LOW
    moved = table.assign(headline=other.where(table["estimator"] == "zeros", table["headline"]))
    assert headline_condition(moved, "r2") == {"kind": "plain"}
