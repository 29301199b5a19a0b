"""metrics.csv: one schema, equal bytes, and a sentence for each way to break it."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import HEADLINE, metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.errors import InputError

FULL = condition(phase_std_rad=0.5, dose_e=27882.0)


def rows():
    measured = [
        metric_row("corrected", "patch_r2", "1", Estimate(0.97, 0.96, 0.98, 6), condition=FULL, seed=0),
        metric_row("corrected", "patch_r2", "1", Estimate(0.95, 0.92, 0.96, 6), condition=FULL, seed=1),
        metric_row("corrected", "patch_r2", "1", 0.8, condition=condition(dose_e=279), seed=0, n=6),
        metric_row("ridge", "patch_r2", "1", 0.921, condition=FULL, n=6),
    ]
    return with_headline(measured, FULL)


def test_conditions_are_written_in_one_way():
    assert FULL == "dose_e=27882;phase_std_rad=0.5"
    assert condition(object="hbn", a=1e-05) == "a=1e-05;object=hbn"
    assert condition() == ""
    with pytest.raises(InputError, match="key=value"):
        condition(object="a;b")


def test_a_table_comes_back_as_it_was_written(tmp_path):
    write_metrics(rows(), tmp_path / "metrics.csv")
    table = read_metrics(tmp_path / "metrics.csv")
    write_metrics(table, tmp_path / "again.csv")
    write_metrics(rows()[::-1], tmp_path / "shuffled.csv")
    first = (tmp_path / "metrics.csv").read_bytes()
    assert first == (tmp_path / "again.csv").read_bytes() == (tmp_path / "shuffled.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.csv", "metrics.csv", "shuffled.csv"]
    assert first.splitlines()[0] == b"estimator,condition,seed,metric,statistic,unit,value,low,high,n"
    assert b"corrected,dose_e=27882;phase_std_rad=0.5,0,patch_r2,value,1,0.97,0.96,0.98,6" in first
    ridge = table[(table["estimator"] == "ridge") & (table["condition"] == HEADLINE)].iloc[0]
    assert ridge["value"] == 0.921 and pd.isna(ridge["seed"]) and math.isnan(ridge["low"])


def test_the_headline_averages_the_seeds():
    headline = [row for row in rows() if row["condition"] == HEADLINE and row["estimator"] == "corrected"]
    assert len(headline) == 1
    assert headline[0]["value"] == pytest.approx(0.96)
    assert (headline[0]["low"], headline[0]["high"]) == (pytest.approx(0.94), pytest.approx(0.97))
    assert headline[0]["seed"] is None and headline[0]["n"] == 6


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_six_digits_survive_writing(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("numbers") / "metrics.csv"
    write_metrics([metric_row("zeros", "x", "1", value, condition=HEADLINE)], path)
    assert read_metrics(path)["value"][0] == pytest.approx(value, rel=1e-5)


def changed(index=0, **values):
    table = rows()
    table[index] = {**table[index], **values}
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(value=math.nan), "value that is no finite number"),
        (changed(value="many"), "value that is no finite number"),
        (changed(value=math.inf), "value that is no finite number"),
        (changed(low=0.99), "interval that is none"),
        (changed(low=math.nan), "interval that is none"),
        (changed(seed=0.5), "seed that is no whole number"),
        (changed(n=None), "n that is no whole number"),
        (changed(unit=""), "empty unit"),
        (changed(condition="b=1;a=2"), "keys sorted"),
        (changed(condition="a=1;a=2"), "keys sorted"),
        (changed(condition="dose 279"), "key=value"),
        ([*rows(), rows()[0]], "second value"),
        ([*rows(), {**rows()[-1], "seed": 3}], "another count of rows than one"),
        (rows()[:4], "another count of rows than one"),
        ([{**row, "extra": 1} for row in rows()], "has the columns"),
    ],
)
def test_a_broken_table_is_refused_before_it_is_written(table, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_metrics(table, tmp_path / "metrics.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    with pytest.raises(InputError, match="cannot be read"):
        read_metrics(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read"):
        read_metrics(path)
    write_metrics(rows(), path)
    path.write_text(path.read_text().replace("0.921", "0,921"))
    with pytest.raises(InputError, match="cannot be read"):
        read_metrics(path)
