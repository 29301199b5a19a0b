"""From predictions to metrics: conditions, intervals, gains, chance, and refusals."""

import dataclasses

import numpy as np
import pytest

from tests.matching.toy_predictions import KEPT, settings, toy_queries, write_predictions
from workflow_scripts.matching.evaluation import metrics, statistics
from workflow_scripts.matching.settings import base_of
from workflow_scripts.matching.simulation.pattern_files import NOT_CRYSTAL
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.tables import HEADLINE, read_metrics, under, write_metrics
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_all_arrays, write_arrays

QUERIES = toy_queries(with_map=False)
FILES = {
    "chance": {"fitted": 0.0},
    "ncc": {"fitted": 0.3},
    "polar_template": {"fitted": 0.5},
    "published": {"pretrained": 0.3, "finetuned": 0.6},
    "corrected": {"pretrained": 0.6, "finetuned": 0.8},
    "fair_pretraining": {"pretrained": 0.1, "finetuned": 0.2},
    "without_pretraining": {"finetuned": 0.7},
}
AT = "dose_e=300;kind=plain;region=unseen"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictions")
    files = [write_predictions(folder / f"{name}.npz", QUERIES, name, shares) for name, shares in FILES.items()]
    predictions = [stage for path in files for stage in statistics.read_stages(path, QUERIES)]
    return statistics.query_metrics(predictions, QUERIES, settings(), np.arange(len(QUERIES)))


@pytest.fixture(scope="module")
def table(measured, tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "metrics.csv"
    write_metrics(statistics.metric_rows(measured, QUERIES, settings()), path)
    return read_metrics(path)


def row(table, estimator, metric, condition=HEADLINE, statistic="value"):
    rows = under(table, condition)
    (only,) = rows[
        (rows["estimator"] == estimator) & (rows["metric"] == metric) & (rows["statistic"] == statistic)
    ].to_dict("records")
    return only


def test_the_headline_is_the_plain_queries_of_unseen_directions_at_the_last_stage(measured, table):
    chosen = measured[
        (measured["estimator"] == "corrected")
        & measured["stage"].isna()
        & (measured["kind"] == "plain")
        & (measured["region"] == "unseen")
        & (measured["dose_e"] == 300)
    ]
    estimate = row(table, "corrected", metrics.BY_CLASS[5])
    assert estimate["value"] == pytest.approx(chosen[metrics.BY_CLASS[5]].mean(), rel=1e-5)
    assert estimate["n"] == 24
    assert estimate["low"] < estimate["value"] < estimate["high"]
    middle = row(table, "corrected", metrics.DEG)
    assert middle["value"] == pytest.approx(np.median(chosen[metrics.DEG]), rel=1e-5)
    excess = row(table, "corrected", metrics.EXCESS)
    assert excess["value"] == pytest.approx(np.median(chosen[metrics.DEG] - chosen[metrics.FLOOR]), abs=1e-5)


def test_every_kind_region_stage_and_arm_has_a_condition_of_its_own(table):
    for estimator, condition in (
        ("corrected", f"{AT};stage=pretrain"),
        ("corrected", "dose_e=100;kind=two_crystals;region=seen"),
        ("polar_template", "dose_e=100;kind=dynamical;region=unseen"),
        ("published", f"arm=fair_pretraining;{AT}"),
        ("published", f"arm=fair_pretraining;{AT};stage=pretrain"),
        ("corrected", f"arm=without_pretraining;{AT}"),
    ):
        assert row(table, estimator, metrics.BY_CLASS[5], condition)["n"] == 24
    assert not table["condition"].str.contains("not_crystal").any()
    # Earlier stages and arms of the ablation are measured only at the headline's dose
    assert not table["condition"].str.contains(r"^dose_e=100;.*stage").any()
    assert not table["condition"].str.contains(r"arm=.*;dose_e=100;").any()


def test_a_baseline_has_no_seed_and_a_training_has_its(table):
    seeds = table[table["condition"] == AT].groupby("estimator")["seed"]
    assert seeds.apply(lambda seed: seed.isna().all())[["ncc", "polar_template", "chance"]].all()
    assert seeds.apply(lambda seed: (seed == 0).all())[["published", "corrected"]].all()


def test_the_worth_of_the_tests_patterns_is_paired(table):
    worth = row(table, "published", statistics.OVER_FAIR[metrics.BY_CLASS[5]])
    expected = [
        row(table, "published", metrics.BY_CLASS[5], condition)["value"]
        for condition in (AT, f"arm=fair_pretraining;{AT}")
    ]
    assert worth["value"] == pytest.approx(expected[0] - expected[1], abs=1e-3)


def test_chance_is_in_closed_form_at_the_tolerance(table):
    estimate = row(table, "chance", statistics.EXPECTED[5])
    assert estimate["value"] == pytest.approx(metrics.chance_percent(3.0, 4, 5), rel=1e-5)
    pairs = row(table, "chance", statistics.NEIGHBOURS, "symmetry=laue_and_half_turn")
    assert pairs["value"] == pytest.approx(2 * row(table, "chance", statistics.NEIGHBOURS)["value"], rel=1e-5)
    assert row(table, "published", statistics.HALF_WIDTH)["value"] <= 7.6


def test_the_area_of_not_indexed_compares_with_patterns_of_no_crystal_at_the_same_dose(measured, table):
    ncc = measured[(measured["estimator"] == "ncc") & (measured["dose_e"] == 300)]
    plain = ncc[(ncc["kind"] == "plain") & (ncc["region"] == "unseen")]["score"].to_numpy()
    none = ncc[ncc["kind"] == NOT_CRYSTAL]["score"].to_numpy()
    expected = (plain[:, None] > none).mean()
    assert row(table, "ncc", metrics.AUC)["value"] == pytest.approx(expected, rel=1e-5)


def mrr_rows(table):
    rows = statistics.metric_rows(table, QUERIES, settings())
    return [row for row in rows if row["metric"] == metrics.MRR]


def test_intervals_resample_cells(measured):
    by_query = mrr_rows(measured)
    coarse = measured.assign(source=measured["source"] // 4)
    by_cell = mrr_rows(coarse)
    assert {row["n"] for row in by_query} == {24} and {row["n"] for row in by_cell} == {6}
    assert {len(row["sources"]) for row in by_cell} == {6} and {row["sources"]["weight"].max() for row in by_cell} == {
        4
    }
    assert [row["value"] for row in by_query] == pytest.approx([row["value"] for row in by_cell])


@pytest.mark.parametrize(("metric", "statistic"), [(metrics.MRR, np.mean), (metrics.DEG, np.median)])
def test_intervals_are_those_of_the_bootstrap_over_sources(measured, metric, statistic):
    part = measured[(measured["estimator"] == "ncc") & (measured["dose_e"] == 300) & (measured["kind"] == "plain")]
    for sources in (48, 13):
        coarse = part.assign(source=part["source"] % sources)
        groups = [group[metric].to_numpy() for _, group in coarse.groupby("source")]

        def drawn(index, axis, groups=groups):
            return np.apply_along_axis(lambda of: statistic(np.concatenate([groups[k] for k in of])), axis, index)

        expected = bootstrap(np.arange(len(groups)), drawn, seed=0, resamples=100)
        estimate = statistics._interval(coarse, metric, settings())
        assert (estimate.value, estimate.low, estimate.high, estimate.n) == pytest.approx(
            (expected.value, expected.low, expected.high, len(groups))
        )


def test_without_patterns_of_no_crystal_there_is_no_area_and_all_else():
    of_crystal = QUERIES.kind != NOT_CRYSTAL
    queries = dataclasses.replace(
        QUERIES,
        **{
            name: getattr(QUERIES, name)[of_crystal]
            for name in ("counts", "rotation", "second_rotation", "session", "kind", "region", "dose_e")
        },
    )
    prediction = statistics.Prediction(
        "ncc",
        None,
        None,
        np.broadcast_to(queries.rotation[:, None], (len(queries), KEPT, 3, 3)),
        np.ones((len(queries), KEPT)),
        np.zeros((len(queries), KEPT), int),
        np.arange(len(queries)),
    )
    table = statistics.query_metrics([prediction], queries, settings(), np.arange(len(queries)))
    rows = statistics.metric_rows(table, queries, settings())
    assert metrics.AUC not in {row["metric"] for row in rows}
    first = [row["value"] for row in rows if row["estimator"] == "ncc" and row["metric"] == metrics.BY_CLASS[1]]
    assert first and set(first) == {100.0}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ablations": ["sliced", "fair_pretraining"]}, "--ablated holds no file of sliced"),
        ({"headline_dose_e": 250.0}, "100, 300"),
    ],
)
def test_a_missing_arm_or_dose_is_named_in_one_sentence(measured, changed, message):
    with pytest.raises(InputError, match=message) as raised:
        statistics.check_complete(measured, settings(**changed))
    assert "\n" not in str(raised.value)


def test_a_complete_table_passes_and_arms_of_a_variant_that_is_not_run_are_not_required(measured):
    statistics.check_complete(measured, settings(ablations=["fair_pretraining"]))
    statistics.check_complete(measured[measured["estimator"] != "corrected"], settings(ablations=["sliced"]))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rotation", np.zeros((3, KEPT, 3, 3)), r"rotation is \(3, 15, 3, 3\)"),
        ("score", np.full((len(QUERIES), KEPT), np.nan), "not finite"),
        ("gallery_index", np.full((len(QUERIES), KEPT), 9999), "outside the test file's gallery"),
    ],
)
def test_predictions_that_do_not_fit_the_queries_are_refused(tmp_path, name, value, message):
    path = write_predictions(tmp_path / "p.npz", QUERIES, "ncc", {"fitted": 0.5})
    write_arrays(path, read_all_arrays(path) | {f"fitted//{name}": value})
    with pytest.raises(InputError, match=message) as raised:
        statistics.read_stages(path, QUERIES)
    assert "\n" not in str(raised.value)


def test_predictions_for_a_part_of_the_queries_have_rows_for_that_part(tmp_path, measured):
    path = write_predictions(tmp_path / "p.npz", QUERIES, "ncc", {"fitted": 0.5})
    arrays, rows = read_all_arrays(path), np.arange(0, len(QUERIES), 3)
    parts = {f"fitted//{name}": arrays[f"fitted//{name}"][rows] for name in ("rotation", "score", "gallery_index")}
    write_arrays(path, arrays | parts | {"fitted//query": rows})
    (prediction,) = statistics.read_stages(path, QUERIES)
    table = statistics.query_metrics([prediction], QUERIES, settings(), np.arange(len(QUERIES)))
    whole = measured[measured["estimator"] == "ncc"].set_index("query").loc[rows]
    assert (table["query"] == rows).all() and (table["kind"].to_numpy() == whole["kind"].to_numpy()).all()
    for wrong in (rows[::-1], rows + len(QUERIES), rows - 5):
        write_arrays(path, arrays | parts | {"fitted//query": wrong})
        with pytest.raises(InputError, match="query does not list rows"):
            statistics.read_stages(path, QUERIES)


def test_the_arms_of_the_ablation_belong_to_what_they_differ_from():
    assert base_of("fair_pretraining") == "published"
    assert base_of("without_observation") == base_of("sliced_stage0") == "corrected"
    assert base_of("ncc") == "ncc"
