"""A difference counts where the intervals do not overlap; a claim that stopped holding is reported."""

import json

import pandas as pd
import pytest

from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.claims_summary import failing, read_ledger, stopped_holding
from workflow_scripts.study.comparison import aligned, changed_settings, compared, difference_section
from workflow_scripts.study.tables import metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.errors import InputError


def metrics(path, corrected, zeros=1.0, width=0.1, name="corrected"):
    path.mkdir(exist_ok=True)
    rows = [
        metric_row(name, "r2", "1", Estimate(corrected, corrected - width, corrected + width, 5)),
        metric_row("zeros", "error", "rad", zeros, n=5),
    ]
    write_metrics(with_headline(rows, ""), path / "metrics.csv")
    return {"matching": read_metrics(path / "metrics.csv")}


def test_nothing_differs_within_intervals(tmp_path):
    run, reference = metrics(tmp_path / "a", 0.5), metrics(tmp_path / "b", 0.69, zeros=1.015)
    differing, sentences = compared(run, reference)
    assert differing.empty
    assert sentences == ["Nothing differs: all 2 numbers agree with the reference within their intervals."]


@pytest.mark.parametrize(("corrected", "zeros", "wrong"), [(0.71, 1.0, "r2"), (0.29, 1.0, "r2"), (0.5, 1.03, "error")])
def test_disjoint_intervals_differ(corrected, zeros, wrong, tmp_path):
    differing, sentences = compared(metrics(tmp_path / "a", 0.5), metrics(tmp_path / "b", corrected, zeros))
    assert differing["metric"].tolist() == [wrong]
    assert sentences[0].startswith("1 of 2 numbers differ")
    table = difference_section(differing).table
    assert table["metric"].tolist() == [f"{wrong} ({'1' if wrong == 'r2' else 'rad'})"]
    assert list(aligned(table, 0))[-1] == "and 1 more"


def test_what_only_one_run_has_is_counted(tmp_path):
    run, reference = metrics(tmp_path / "a", 0.5), metrics(tmp_path / "b", 0.5, name="published")
    run["alignment"], reference["potential"] = run["matching"], reference["matching"]
    differing, sentences = compared(run, reference)
    assert differing.empty
    assert "matching: 1 numbers are only in the reference." in sentences
    assert "The reference has no alignment." in sentences and "This run has no potential." in sentences
    assert compared({}, {})[1] == ["Nothing can be compared: the runs share no number."]


def test_changed_settings_are_named(tmp_path):
    for name, epochs, seed in (("a", 5, 0), ("a", 5, 1), ("b", 75, 0)):
        path = tmp_path / name / "matching" / f"seed{seed}" / "provenance.json"
        path.parent.mkdir(parents=True)
        record = {
            "module": "workflow_scripts.matching.pretrain",
            "settings": {"epochs": epochs, "seed": seed, "gpus": seed},
        }
        path.write_text(json.dumps(record))
    assert changed_settings(tmp_path / "a", tmp_path / "b") == [
        "matching.pretrain: epochs is 5 here and 75 in the reference."
    ]


def ledger(**holds):
    verdicts = {"yes": "holds: 1 where > 0 was set", "no": "fails: 0 where > 0 was set"}
    rows = [("matching", claim, value, verdicts.get(value, value)) for claim, value in holds.items()]
    return pd.DataFrame(rows, columns=["method", "claim", "holds", "verdict"])


def test_a_claim_that_stopped_holding_is_one_line():
    reference = ledger(one="yes", two="yes", three="no", four="yes")
    lines = list(stopped_holding(ledger(one="yes", two="no", three="no"), reference))
    assert lines == [
        "matching: two: held in the reference (holds: 1 where > 0 was set), now fails: 0 where > 0 was set",
        "matching: four: held in the reference (holds: 1 where > 0 was set), now is no claim of this run",
    ]


def test_one_line_reports_that_all_hold():
    assert list(stopped_holding(ledger(one="yes"), ledger(one="yes", two="no"))) == [
        "every claim that held in the reference holds: 1 of 1"
    ]
    assert list(stopped_holding(ledger(one="yes"), ledger(one="no"))) == ["no claim held in the reference"]


def test_claims_are_counted_and_those_that_fail_are_named():
    assert list(failing(ledger(one="yes", two="no", three="not measured", four="not measured"))) == [
        "Of 4 claims 1 hold, 1 fail, 0 are undecided, and 2 were not measured by this run.",
        "matching: two: fails: 0 where > 0 was set",
    ]


def test_a_file_that_is_no_ledger_is_a_sentence(tmp_path):
    (tmp_path / "claims.csv").write_text("method,claim\n")
    with pytest.raises(InputError, match="lacks the columns holds, verdict"):
        read_ledger(tmp_path / "claims.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_ledger(tmp_path / "absent.csv")
