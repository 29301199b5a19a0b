"""Who is best, who is not significantly worse, and what the arms gain over each estimator."""

import sys

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.study import paired
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.by_source import read_by_source, write_by_source
from workflow_scripts.study.paired import (
    BEST,
    GIVEN_MORE,
    NOT_WORSE,
    UNDECIDED,
    WORSE,
    leaders,
    paired_section,
    standings,
)
from workflow_scripts.study.tables import metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.errors import InputError


def tables(path, n):
    """Sources differ by far more than the estimators, which can be told apart only in pairs."""
    hard = np.linspace(1, 9, n)
    errors = {
        "zeros": hard + 5,
        "ridge": hard + 0.1 * np.sin(np.arange(n)),
        "published": hard + 1 + 0.1 * np.sin(np.arange(n)),
        "corrected": hard,
    }
    rows = [metric_row(name, "error", "rad", bootstrap(pd.Series(errors[name]), seed=0)) for name in errors]
    rows.append(metric_row("closed_form", "error", "rad", 3.0))
    write_metrics(with_headline(rows, ""), path / "metrics.csv")
    write_by_source(with_headline(rows, ""), path / "by_source.csv")
    return read_metrics(path / "metrics.csv"), read_by_source(path / "by_source.csv")


@pytest.mark.parametrize("n", [8, 14])
def test_estimators_are_ranked_by_paired_differences(n, tmp_path):
    metrics, by_source = tables(tmp_path, n)
    assert by_source["value"].std() > 2
    table = standings(metrics, by_source, "error")
    closed = table.loc["closed_form"]
    assert closed["standing"] == BEST and closed["to_best"] is None
    assert set(table["standing"].drop("closed_form")) == {UNDECIDED} and leaders(table) == []
    table = standings(metrics, by_source, "error", given_more=["closed_form"]).drop(index="closed_form")
    best = table["value"].idxmin()
    other = "ridge" if best == "corrected" else "corrected"
    expected = {"zeros": WORSE, "published": WORSE, best: BEST, other: NOT_WORSE}
    assert table["standing"].to_dict() == expected
    assert set(leaders(table)) == {"corrected", "ridge"}
    assert standings(metrics, by_source, "error", given_more=["closed_form"])["standing"]["closed_form"] == GIVEN_MORE
    gain = table["corrected"]["zeros"]
    assert gain.estimate.value == pytest.approx(-5, abs=1e-4) and gain.is_significant
    assert table["corrected"]["corrected"] is None


def test_the_best_may_be_the_highest_and_few_sources_decide_nothing(tmp_path):
    metrics, by_source = tables(tmp_path, 4)
    table = standings(metrics, by_source, "error", better="higher")
    assert table["standing"]["zeros"] == BEST
    assert set(table["standing"].drop("zeros")) == {UNDECIDED} and leaders(table) == []
    with pytest.raises(InputError, match="holds no r2"):
        standings(metrics, by_source, "r2")


def test_the_section_has_every_estimator_in_order_with_its_differences(tmp_path):
    metrics, by_source = tables(tmp_path, 8)
    section = paired_section(standings(metrics, by_source, "error"), "error", ["corrected", "zeros"])
    cells = section.table.set_index("estimator")
    assert cells.index.tolist() == ["corrected", "zeros", "closed_form", "published", "ridge"]
    assert cells["corrected − it"]["zeros"] == "-5.00 (-5.00 to -5.00; p = 0.0078)"
    assert cells["− closed_form"]["zeros"] == "–" and cells["n"]["zeros"] == "8"


def test_the_command_prints_the_table_or_one_sentence(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "laptop" / "matching" / "evaluate"
    folder.mkdir(parents=True)
    tables(folder, 8)
    monkeypatch.setattr(sys, "argv", ["paired", str(tmp_path / "laptop"), "matching", "error", "--better", "higher"])
    paired.main()
    assert "In front: zeros." in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["paired", str(tmp_path / "laptop"), "matching", "r2"])
    with pytest.raises(SystemExit, match=r"error: .*holds no r2"):
        paired.main()
