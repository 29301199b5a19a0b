"""From predictions to metrics: conditions, headlines, intervals, ratios, and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.background.tile_sets import toy_tiles, write
from workflow_scripts.background.evaluation import scores as evaluation
from workflow_scripts.background.evaluation.examples import example_images, spread_and_error
from workflow_scripts.background.evaluation.metrics import METRICS
from workflow_scripts.background.settings import Evaluate
from workflow_scripts.study.tables import headline_numbers, read_metrics, write_metrics
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check

TILES = toy_tiles(4, 16)
ARM = {"pretrained/tiles=2": 0.08, "finetuned/tiles=2": 0.05, "finetuned/tiles=4": 0.04, "finetuned/tiles=16": 0.03}
ERROR = evaluation.ERROR


SETTINGS = check(Evaluate, {"bootstrap_samples": 100, "seed": 0})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictions")

    def written(estimator, predictions, **more):
        return write(folder, estimator, TILES, predictions, **more)

    plain = {"spread": False, "curve": False}
    return [
        written("gaussian", {"fitted/tiles=1": 0.2}, **plain),
        written("median_4", {"fitted/tiles=4": 0.1}, **plain),
        written("eigen_flats", {"fitted/references=same": 0.02, "fitted/references=earlier": 0.3}, **plain),
        written("published", {"pretrained/tiles=2": 0.5, "finetuned/tiles=2": 0.4}, **plain),
        written("unet", {"pretrained/tiles=2": 0.2, "finetuned/tiles=2": 0.1}, **plain),
        written("corrected", ARM),
        written("corrected", ARM, seed=1),
    ]


@pytest.fixture(scope="module")
def scores(files):
    predictions = [prediction for path in files for prediction in evaluation.predictions_of(path, TILES)]
    return evaluation.tile_metrics([evaluation.zeros(TILES), *predictions], TILES)


@pytest.fixture(scope="module")
def table(scores, tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "metrics.csv"
    write_metrics(evaluation.metric_rows(scores, SETTINGS), path)
    return read_metrics(path)


def value(table, estimator, metric=ERROR, condition=None, seed=None):
    """The row of a condition and seed, or without a condition the headline averaged over the seeds."""
    chosen = headline_numbers(table) if condition is None else table[table["condition"] == condition]
    chosen = chosen[(chosen["estimator"] == estimator) & (chosen["metric"] == metric)]
    (row,) = (chosen if seed is None else chosen[chosen["seed"] == seed]).to_dict("records")
    return row


def test_the_headline_is_two_tiles_of_an_arm_and_the_only_prediction_of_a_baseline(table):
    expected = {"gaussian": 0.2, "median_4": 0.1, "eigen_flats": 0.02, "published": 0.4, "unet": 0.1, "corrected": 0.05}
    for estimator, noise in expected.items():
        row = value(table, estimator)
        assert row["value"] == pytest.approx(noise, rel=0.05), estimator
        assert row["n"] == 4 and np.isnan(row["low"])  # too few sessions for an interval
    assert value(table, "zeros")["value"] == pytest.approx(TILES.log_flat.std(axis=(2, 3)).mean(), rel=1e-5)


def test_stages_numbers_of_tiles_and_references_have_conditions_of_their_own(table):
    for estimator, condition, noise in (
        ("corrected", "tiles=2", 0.05),
        ("corrected", "stage=pretrain;tiles=2", 0.08),
        ("corrected", "tiles=16", 0.03),
        ("median_4", "tiles=4", 0.1),
        ("gaussian", "tiles=1", 0.2),
        ("eigen_flats", "references=earlier", 0.3),
        ("eigen_flats", "references=same", 0.02),
    ):
        seed = 1 if estimator == "corrected" else None
        assert value(table, estimator, condition=condition, seed=seed)["value"] == pytest.approx(noise, rel=0.05)


def test_an_interval_rests_on_sessions_not_on_tiles(scores):
    """Tiles that count twice narrow nothing."""
    zeros = scores[scores["estimator"] == "zeros"]
    tables = [evaluation.metric_rows(part, SETTINGS) for part in (zeros, pd.concat([zeros, zeros]))]
    for once, twice in zip(*tables, strict=True):
        assert once["n"] == twice["n"] <= 4
        assert once["sources"]["value"].tolist() == pytest.approx(twice["sources"]["value"].tolist())


def test_every_metric_of_an_estimate_with_a_spread_is_there(table):
    for metric in METRICS:
        assert np.isfinite(value(table, "corrected", metric)["value"])
    assert value(table, "corrected", "spread_coverage")["value"] == pytest.approx(0.683, abs=0.02)
    assert not (table[table["estimator"] == "median_4"]["metric"] == "spread_coverage").any()
    assert value(table, "corrected", "od_rmse_absolute")["value"] == pytest.approx(0.05, rel=0.1)


def test_an_absolute_error_needs_a_region():
    tiles = toy_tiles(4, 16)
    tiles = dataclasses.replace(tiles, open_beam=np.zeros_like(tiles.open_beam))
    scores = evaluation.tile_metrics([evaluation.zeros(tiles)], tiles)
    rows = evaluation.metric_rows(scores, SETTINGS)
    assert "od_rmse_absolute" not in {row["metric"] for row in rows}
    assert ERROR in {row["metric"] for row in rows}


def test_a_ratio_compares_the_same_sessions_and_seeds(table):
    for other, expected in (("gaussian", 0.25), ("eigen_flats_same", 2.5), ("eigen_flats_earlier", 1 / 6)):
        row = value(table, "corrected", f"{ERROR}_over_{other}")
        assert row["value"] == pytest.approx(expected, rel=0.05)
    # unet has the seed 0 alone; before finetuning it is compared with what it was then
    name = f"{ERROR}_over_unet"
    assert value(table, "corrected", name, "tiles=2")["seed"] == 0
    assert value(table, "corrected", name, "stage=pretrain;tiles=2")["value"] == pytest.approx(0.4, rel=0.05)
    assert not (table["metric"] == f"{ERROR}_over_corrected").any()


def test_the_curve_over_steps_has_its_own_headline(table):
    assert value(table, "corrected", condition="steps=1;tiles=2", seed=1)["value"] == pytest.approx(0.1, rel=0.05)
    assert value(table, "corrected", "steps_quality_ratio", "steps=50;tiles=2", seed=0)["value"] == pytest.approx(1)
    row = value(table, "corrected", "steps_quality_ratio")
    assert row["value"] == pytest.approx(0.055 / 0.051, rel=1e-4)
    assert row["n"] == 4


def test_of_many_steps_alone_the_fewest_are_the_headline(scores):
    rows = evaluation.metric_rows(scores[~scores["steps"].isin([1, 2, 10])], SETTINGS)
    (row,) = [row for row in rows if row["metric"] == "steps_quality_ratio" and row["seed"] == 0]
    assert row["headline"] and row["condition"] == "steps=50;tiles=2" and row["value"] == 1


def without(scores, estimator, **where):
    chosen = scores["estimator"] == estimator
    for key, value_of_key in where.items():
        chosen &= scores[key] == value_of_key
    return scores[~chosen]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda scores: without(scores, "unet", tiles=2, is_headline=True), "lacks unet from 2 tiles"),
        (
            lambda scores: without(scores, "eigen_flats", references="same"),
            "lacks eigen_flats from references",
        ),
        (lambda scores: pd.concat([scores, scores[scores["estimator"] == "gaussian"]]), "two files of gaussian"),
    ],
)
def test_what_is_missing_is_named_in_one_sentence(scores, change, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        evaluation.check_complete(change(scores))
    assert "\n" not in str(raised.value)


def test_a_file_of_predictions_is_read_part_by_part(files):
    predictions = list(evaluation.predictions_of(files[5], TILES))
    assert [(prediction.condition, prediction.seed, prediction.is_headline) for prediction in predictions] == [
        ("stage=pretrain;tiles=2", 0, False),
        ("tiles=2", 0, True),
        ("tiles=4", 0, False),
        ("tiles=16", 0, False),
        *((f"steps={steps};tiles=2", 0, False) for steps in (1, 2, 10, 50)),
    ]
    assert predictions[0].spread.shape == TILES.log_flat.shape and predictions[0].tile_numbers is None
    assert predictions[-1].log_flat.shape == (4, 2, 32, 32) and predictions[-1].tile_numbers.tolist() == [0, 15]
    references = list(evaluation.predictions_of(files[2], TILES))
    assert [(prediction.condition, prediction.seed, prediction.is_headline) for prediction in references] == [
        ("references=same", None, True),
        ("references=earlier", None, False),
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"finetuned/tiles=2/log_flat": np.zeros((4, 16, 8, 8))}, r"finetuned/tiles=2/log_flat is \(4, 16, 8, 8\)"),
        ({"finetuned/tiles=2/spread": np.full(TILES.log_flat.shape, np.nan)}, r"tiles=2/spread holds a value that"),
        ({"finetuned/steps=1;tiles=2/log_flat": np.ones((4, 3, 32, 32))}, r"steps=1;tiles=2/log_flat is \(4, 3, 32"),
        ({"finetuned/steps=1;tiles=2/tile_numbers": [0, 16]}, r"steps=1;tiles=2 holds the tiles 0, 16, .* have 16"),
    ],
)
def test_predictions_of_other_tiles_or_broken_ones_are_refused(files, tmp_path, changes, sentence):
    with np.load(files[5]) as archive:
        arrays = dict(archive)
    path = tmp_path / "p.npz"
    write_arrays(path, arrays | changes)
    with pytest.raises(InputError, match=rf"p\.npz: .*{sentence}"):
        list(evaluation.predictions_of(path, TILES))


def test_examples_show_the_headline_of_every_estimator_with_the_photon_noise(files):
    examples = example_images(TILES, files)
    assert examples["estimators"].tolist() == ["gaussian", "median_4", "eigen_flats", "published", "unet", "corrected"]
    assert [name.split(",")[0] for name in examples["names"].tolist()] == ["session 1", "session 3", "session 4"]
    assert examples["estimated"].shape == (6, 3, 32, 32) and examples["spread"].max() == pytest.approx(0.05)
    # An estimate differs from the truth by its error and the noise of the counts
    noise = [examples["estimated"][k] - examples["truth"] - examples["errors"][k] for k in range(6)]
    assert noise[0] == pytest.approx(noise[5], abs=1e-5) and 0.005 < np.nanstd(noise[0]) < 0.05
    assert np.nanstd(examples["errors"][5]) == pytest.approx(0.05, rel=0.1)
    assert examples["truth"].std(axis=(1, 2)).min() > 0.02


def test_examples_of_files_without_a_spread_have_no_bins(files):
    examples = example_images(TILES, files[:1])
    assert examples["spread_bins"].shape == examples["error_bins"].shape == (0,)
    assert not examples["spread"].any()


def test_the_bins_of_a_right_spread_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.02, 0.2, TILES.log_flat.shape)
    flats = TILES.log_flat + spread * rng.standard_normal(spread.shape)
    spreads, errors = spread_and_error(evaluation.Prediction("corrected", 0, "tiles=2", flats, spread), TILES)
    assert errors == pytest.approx(spreads, rel=0.05)
    assert (np.diff(spreads) > 0).all()
