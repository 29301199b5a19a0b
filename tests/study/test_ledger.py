"""A claim holds only at its scale and condition, and no ratio to an estimator worse than zeros counts."""

import numpy as np
import pandas as pd
import pytest
import yaml

from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.by_source import read_by_source, write_by_source
from workflow_scripts.study.ledger import (
    LEDGER_COLUMNS,
    NOT_MEASURED,
    UNDECIDED,
    Claim,
    Target,
    make_ledger,
    page,
    read_claims,
)
from workflow_scripts.study.tables import metric_row, read_metrics, with_headline, write_metrics
from workflow_scripts.workflow.errors import InputError

CLAIM = {
    "claim": "RMSE at most a quarter",
    "metric": "phase_rmse_rad_meanfree",
    "unit": "rad",
    "stated": 0.1,
    "condition": "dose_e=27882;object=photograph",
    "scale": "gpu",
    "baseline": "dpc",
    "target": {"op": "<=", "value": 0.25, "of": "published"},
    "computed": "RMS of the difference",
    "source": "our target",
}


def claim(**changed):
    return Claim(method="diffractive_imaging", **{**CLAIM, **changed})


def table(tmp_path, **values):
    """A metrics table with the claim's metric of each estimator; two seeds where a pair is given."""
    rows = []
    for estimator, value in values.items():
        seeds = dict(enumerate(value)) if isinstance(value, tuple) else {None: value}
        for seed, number in seeds.items():
            rows.append(metric_row(estimator, CLAIM["metric"], "rad", number, condition=CLAIM["condition"], seed=seed))
    write_metrics(with_headline(rows, CLAIM["condition"]), tmp_path / "metrics.csv")
    return {"diffractive_imaging": read_metrics(tmp_path / "metrics.csv")}


def holds(metrics, scale="gpu", **changed):
    return make_ledger([claim(**changed)], metrics, scale)["holds"][0]


def test_a_row_shows_what_was_stated_and_measured(tmp_path):
    metrics = table(tmp_path, published=0.4, corrected=(0.08, 0.10), zeros=0.5, dpc=0.3)
    row = make_ledger([claim()], metrics, "gpu").iloc[0]
    assert list(row.index) == LEDGER_COLUMNS
    assert (row["stated"], row["published"], row["corrected"]) == ("0.1", "0.4", "0.09")
    assert row["baseline"] == "dpc: 0.3"
    assert row["target"] == "corrected <= 0.25 × published (gpu; dose_e=27882;object=photograph)"
    assert row["holds"] == "yes"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"op": "<=", "value": 0.1}, "yes"),
        ({"op": "<", "value": 0.1}, "no"),
        ({"op": ">=", "value": 0.1}, "yes"),
        ({"op": ">", "value": 0.1}, "no"),
        ({"op": "~", "value": 0.12, "tolerance": 0.03}, "yes"),
        ({"op": "~", "value": 0.14, "tolerance": 0.03}, "no"),
        ({"arm": "published", "op": ">", "value": 0.3}, "yes"),
        ({"op": "<=", "value": 0.25, "of": "zeros"}, "yes"),
        ({"op": "<=", "value": 0.1, "of": "zeros"}, "no"),
        ({"op": "<=", "value": 1.1, "of": "ptychography"}, NOT_MEASURED),
        ({"arm": "ridge", "op": ">", "value": 0}, NOT_MEASURED),
    ],
)
def test_comparisons(target, expected, tmp_path):
    metrics = table(tmp_path, published=0.4, corrected=0.1, zeros=0.5)
    assert holds(metrics, target=target) == expected


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_another_scale_is_not_measured(scale, tmp_path):
    metrics = table(tmp_path, published=0.4, corrected=0.01, zeros=0.5)
    assert holds(metrics) == "yes"
    assert holds(metrics, scale=scale) == NOT_MEASURED


def test_another_condition_metric_or_statistic_is_not_measured(tmp_path):
    metrics = table(tmp_path, published=0.4, corrected=0.01, zeros=0.5)
    for changed in ({"condition": "dose_e=279"}, {"metric": "patch_r2"}, {"statistic": "median"}):
        assert holds(metrics, **changed) == NOT_MEASURED
        assert make_ledger([claim(**changed)], metrics, "gpu")["corrected"][0] == NOT_MEASURED
    assert holds({}) == NOT_MEASURED


def test_a_ratio_to_published_counts_only_where_published_beats_zeros(tmp_path):
    assert holds(table(tmp_path, published=0.6, corrected=0.01, zeros=0.5)) == NOT_MEASURED
    assert holds(table(tmp_path, published=0.5, corrected=0.01, zeros=0.5)) == NOT_MEASURED
    assert holds(table(tmp_path, published=0.4, corrected=0.01)) == NOT_MEASURED
    assert holds(table(tmp_path, published=0.4, corrected=0.2, zeros=0.5)) == "no"
    higher_is_better = {"op": ">=", "value": 2.0, "of": "published"}
    assert holds(table(tmp_path, published=0.3, corrected=0.9, zeros=0.0), target=higher_is_better) == "yes"
    assert holds(table(tmp_path, published=-0.3, corrected=0.9, zeros=0.0), target=higher_is_better) == NOT_MEASURED


def test_another_unit_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'mrad'.*'rad'"):
        holds(table(tmp_path, corrected=0.1), unit="mrad")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"colour": "red"}, "claim 1 .RMSE at most a quarter.: colour: Extra"),
        ({"scale": "huge"}, "scale: Input should be"),
        ({"condition": "b=1;a=2"}, "condition: .*keys sorted"),
        ({"stated": "many"}, "stated: .*found 'many'"),
        ({"target": {"op": "~", "value": 1.0}}, "target: .*tolerance belongs"),
        ({"target": {"op": "<=", "value": 1.0, "tolerance": 0.1}}, "target: .*tolerance belongs"),
        ({"target": {"op": "==", "value": 1.0}}, "target.op"),
        ({"target": {"op": "~", "value": 1.0, "tolerance": 0.1, "of": "zeros"}}, "target: .*with a number"),
        ({"claim": ""}, "claim: String should have"),
    ],
)
def test_a_wrong_claim_is_one_sentence(changed, message, tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([{**CLAIM, **changed}]))
    with pytest.raises(InputError, match=message) as caught:
        read_claims(path, "diffractive_imaging")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: 1", "not a list"), ("- 3", "not a list"), ("", "not a list"), ("- {", "cannot be read")],
)
def test_a_file_that_is_no_list_of_claims_is_refused(text, message, tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_claims(path, "diffractive_imaging")
    with pytest.raises(InputError, match="cannot be read"):
        read_claims(tmp_path / "absent.yaml", "diffractive_imaging")


def test_the_same_claim_twice_is_refused(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([CLAIM, CLAIM]))
    with pytest.raises(InputError, match="twice"):
        read_claims(path, "diffractive_imaging")


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"target": {"op": "<=", "value": 0.1}}, "holds: 0.1 rad where <= 0.1 rad was set; by its value alone, n = 1"),
        ({"target": {"op": "<", "value": 0.1}}, "fails: 0.1 rad where < 0.1 rad was set; by its value alone, n = 1"),
        (
            {"target": {"op": "<", "value": 0.09999999}},
            "fails: 0.1 rad where < 0.09999999 rad was set; by its value alone, n = 1",
        ),
        (
            {"target": {"op": "~", "value": 0.12, "tolerance": 0.03}},
            "holds: 0.1 rad where 0.12 ± 0.03 rad was set; by its value alone, n = 1",
        ),
        (
            {"target": {"op": "<=", "value": 0.25, "of": "published"}},
            "holds: 0.1 rad where <= 0.1 rad, 0.25 × published, was set; by its value alone, n = 1",
        ),
        ({"scale": "paper"}, "not measured at this scale: the claim is about paper"),
        ({"condition": "dose_e=279"}, "not measured: this run has no such number of corrected"),
        (
            {"target": {"op": "<=", "value": 1.0, "of": "ptychography"}},
            "not measured: this run has no such number of ptychography to compare with",
        ),
    ],
)
def test_the_verdict_has_the_measured_and_the_target_value(changed, verdict, tmp_path):
    metrics = table(tmp_path, published=0.4, corrected=0.1, zeros=0.5)
    assert make_ledger([claim(**changed)], metrics, "gpu")["verdict"][0] == verdict


def test_a_ratio_to_an_arm_worse_than_zeros_is_not_judged(tmp_path):
    metrics = table(tmp_path, published=0.6, corrected=0.1, zeros=0.5)
    assert make_ledger([claim()], metrics, "gpu")["verdict"][0].startswith(
        "not judged: published is no better than zeros"
    )


def test_the_page_counts_verdicts_and_shows_every_claim(tmp_path):
    metrics = table(tmp_path, published=0.4, corrected=0.1, zeros=0.5)
    claims = [claim(), claim(claim="A <b>", target={"op": "<", "value": 0.01}), claim(claim="C", scale="paper")]
    text = page(make_ledger(claims, metrics, "gpu"), "gpu")
    assert "Of 3 claims 1 hold, 1 fail, 0 are undecided, and 1 were not measured" in text
    assert "A &lt;b&gt;" in text and "<b>" not in text
    assert text.count('class="yes"') == text.count('class="no"') == text.count('class="not-measured"') == 1


@pytest.mark.parametrize(
    ("op", "low", "high", "expected"),
    [
        ("<=", 0.5, 0.9, "yes"),
        ("<=", 0.5, 1.0, "yes"),
        ("<", 0.5, 1.0, UNDECIDED),
        ("<=", 0.5, 1.1, UNDECIDED),
        ("<=", 1.1, 1.2, "no"),
        ("<", 1.0, 1.2, "no"),
        (">", 1.1, 1.2, "yes"),
        (">=", 0.9, 1.2, UNDECIDED),
        (">=", 0.8, 0.9, "no"),
        ("~", 0.95, 1.05, "yes"),
        ("~", 0.95, 1.15, UNDECIDED),
        ("~", 0.5, 1.5, UNDECIDED),
        ("~", 0.5, 0.8, "no"),
        ("~", 1.2, 1.8, "no"),
    ],
)
def test_an_interval_decides_where_it_lies_on_one_side(op, low, high, expected):
    target = Target(op=op, value=1.0, tolerance=0.1 if op == "~" else None)
    assert target.decided(Estimate((low + high) / 2, low, high, 20), 1.0) == expected


def measured_by_source(tmp_path, n, **gains):
    """Tables in which the sources differ far more than the estimators; a gain is one number or one of each source."""
    names = [f"photograph{k}" for k in range(n)]
    rows = []
    for estimator, gain in gains.items():
        values = pd.Series(np.linspace(1, 3, n) - gain, names)
        interval = bootstrap(values, seed=0)
        rows.append(metric_row(estimator, CLAIM["metric"], "rad", interval, condition=CLAIM["condition"]))
    rows = with_headline(rows, CLAIM["condition"])
    write_metrics(rows, tmp_path / "metrics.csv")
    write_by_source(rows, tmp_path / "by_source.csv")
    tables = read_metrics(tmp_path / "metrics.csv"), read_by_source(tmp_path / "by_source.csv")
    return [{"diffractive_imaging": table} for table in tables]


@pytest.mark.parametrize(
    ("n", "gain", "op", "expected"),
    [
        (2, 0.01, "<=", UNDECIDED),
        (5, 0.01, "<", UNDECIDED),
        (6, 0.01, "<", "yes"),
        (6, 0.01, ">", "no"),
        (6, -0.01, "<=", "no"),
        (6, 0.01 * np.array([1, 1, 1, 1, 1, -1]), "<", UNDECIDED),
        (12, 0.01 + 0.001 * np.sin(np.arange(12)), "<", "yes"),
        (12, 0.01 + 0.001 * np.sin(np.arange(12)), ">=", "no"),
        (12, 0.01 * np.sin(np.arange(12)), "<=", UNDECIDED),
    ],
)
def test_two_estimators_are_compared_over_their_sources(n, gain, op, expected, tmp_path):
    metrics, sources = measured_by_source(tmp_path, n, corrected=gain, dpc=0.0)
    compared = claim(target={"op": op, "value": 1.0, "of": "dpc"})
    row = make_ledger([compared], metrics, "gpu", sources).iloc[0]
    assert row["holds"] == expected
    assert f"n = {n}" in row["verdict"] and "paired difference" in row["verdict"]
    assert row["verdict"].split(":")[0] == {"yes": "holds", "no": "fails", UNDECIDED: "undecided"}[expected]
    assert ("p = " in row["verdict"]) == (n < 12)


def test_a_factor_multiplies_the_other_estimator_in_every_source(tmp_path):
    metrics, sources = measured_by_source(tmp_path, 12, corrected=0.5, dpc=0.0)
    for factor, expected in ((0.9, "yes"), (0.75, UNDECIDED), (0.6, "no")):
        compared = claim(target={"op": "<", "value": factor, "of": "dpc"})
        assert make_ledger([compared], metrics, "gpu", sources)["holds"][0] == expected


def test_a_margin_is_added_to_the_other_estimator_in_every_source(tmp_path):
    gain = 0.5 + 0.001 * np.sin(np.arange(12))
    metrics, sources = measured_by_source(tmp_path, 12, corrected=gain, dpc=0.0)
    for margin, expected in ((-0.4, "yes"), (-0.5, UNDECIDED), (-0.6, "no")):
        compared = claim(target={"op": "<", "value": 1.0, "of": "dpc", "plus": margin})
        row = make_ledger([compared], metrics, "gpu", sources).iloc[0]
        assert row["holds"] == expected
        assert f"1 × dpc + {margin:g}" in row["target"]


def test_a_number_is_compared_with_the_interval_or_with_the_value_alone(tmp_path):
    metrics, sources = measured_by_source(tmp_path, 12, corrected=0.0)
    for goal, expected in ((1.0, "no"), (1.9, UNDECIDED), (3.0, "yes")):
        row = make_ledger([claim(target={"op": "<", "value": goal})], metrics, "gpu", sources).iloc[0]
        assert row["holds"] == expected and "; interval " in row["verdict"]
    metrics, sources = measured_by_source(tmp_path, 3, corrected=0.0)
    row = make_ledger([claim(target={"op": "<", "value": 2.1})], metrics, "gpu", sources).iloc[0]
    assert row["holds"] == "yes" and row["verdict"].endswith("; by its value alone, n = 3")
