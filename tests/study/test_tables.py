"""metrics.csv: one schema, equal bytes, and a sentence for each way to break it."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import condition, parse_condition, with_condition_columns
from workflow_scripts.study.tables import (
    HEADLINE,
    headline_numbers,
    metric_row,
    read_metrics,
    under,
    with_headline,
    write_metrics,
)
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


TEXTS = st.text("abcxyz._-019", min_size=1, max_size=5)


@given(st.dictionaries(st.text("abcxyz_", min_size=1, max_size=5).filter(lambda key: key[0] != "_"), TEXTS))
def test_a_condition_is_read_back_as_it_was_written(values):
    assert parse_condition(condition(**values)) == values


def test_conditions_become_columns_of_texts_and_numbers():
    table = pd.DataFrame({"condition": ["dose_e=100;object=hbn", "dose_e=10", ""], "value": [1.0, 2.0, 3.0]}, [5, 6, 7])
    expanded = with_condition_columns(table, texts=["object", "stage"], numbers=["dose_e"])
    assert expanded["object"].tolist()[0] == "hbn" and expanded["object"].isna().sum() == 2
    assert expanded["stage"].isna().all()
    assert expanded["dose_e"].tolist()[:2] == [100.0, 10.0] and math.isnan(expanded["dose_e"][2])
    assert expanded["value"].tolist() == [1.0, 2.0, 3.0] and len(expanded) == 3
    empty = with_condition_columns(table[:0], texts=["object"], numbers=["dose_e"])
    assert len(empty) == 0 and empty["dose_e"].dtype == float


def test_a_table_comes_back_as_it_was_written(tmp_path):
    write_metrics(rows(), tmp_path / "metrics.csv")
    table = read_metrics(tmp_path / "metrics.csv")
    write_metrics(table, tmp_path / "again.csv")
    write_metrics(rows()[::-1], tmp_path / "shuffled.csv")
    first = (tmp_path / "metrics.csv").read_bytes()
    assert first == (tmp_path / "again.csv").read_bytes() == (tmp_path / "shuffled.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.csv", "metrics.csv", "shuffled.csv"]
    assert first.splitlines()[0] == b"estimator,condition,seed,metric,statistic,unit,value,low,high,n,headline"
    assert b"corrected,dose_e=27882;phase_std_rad=0.5,0,patch_r2,value,1,0.97,0.96,0.98,6,yes" in first
    (ridge,) = under(table[table["estimator"] == "ridge"], HEADLINE).to_dict("records")
    assert ridge["value"] == 0.921 and pd.isna(ridge["seed"]) and math.isnan(ridge["low"])


def test_the_headline_averages_the_seeds(tmp_path):
    write_metrics(rows(), tmp_path / "metrics.csv")
    table = headline_numbers(read_metrics(tmp_path / "metrics.csv")).set_index("estimator")
    assert sorted(table.index) == ["corrected", "ridge"]
    assert table.loc["corrected", "value"] == pytest.approx(0.96)
    assert table.loc["corrected", ["low", "high"]].tolist() == [pytest.approx(0.94), pytest.approx(0.97)]
    assert table.loc["corrected", "condition"] == FULL and table.loc["corrected", "n"] == 6
    assert math.isnan(table.loc["ridge", "low"])


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_six_digits_survive_writing(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("numbers") / "metrics.csv"
    write_metrics(with_headline([metric_row("zeros", "x", "1", value)], ""), path)
    assert read_metrics(path)["value"][0] == pytest.approx(value, rel=1e-5)


def changed(index=0, **values):
    table = rows()
    table[index] = {**table[index], **values}
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(value=math.nan), "value that is not a finite number"),
        (changed(value="many"), "value that is not a finite number"),
        (changed(value=math.inf), "value that is not a finite number"),
        (changed(low=0.99), "interval without ordered bounds"),
        (changed(low=math.nan), "interval without ordered bounds"),
        (changed(seed=0.5), "seed that is not a whole number"),
        (changed(n=None), "n that is not a whole number"),
        (changed(unit=""), "empty unit"),
        (changed(condition="b=1;a=2"), "keys sorted"),
        (changed(condition="a=1;a=2"), "keys sorted"),
        (changed(condition="dose 279"), "key=value"),
        ([*rows(), rows()[0]], "second value"),
        ([*rows(), {**rows()[-1], "condition": "dose_e=1"}], "without exactly one headline condition"),
        (rows()[2:], "without exactly one headline condition"),
        (changed(headline="maybe"), "neither yes nor empty"),
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
