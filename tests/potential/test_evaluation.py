"""From predictions to metrics: conditions, intervals, gains, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.potential.toy import toy_samples
from workflow_scripts.potential.evaluation import comparison
from workflow_scripts.potential.evaluation.comparison import Prediction
from workflow_scripts.potential.settings import Evaluate
from workflow_scripts.potential.simulation.counting import NOISE_FREE
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, PATCH, RING, joined
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.predictions import read_predictions, write_predictions
from workflow_scripts.study.tables import HEADLINE, read_metrics, under, write_metrics
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check

SAMPLES = toy_samples(3, 32, seed=4)
DOSES = [1e3, 1e5, NOISE_FREE]
HELD_OUT = "GaN"


def settings(**changes) -> Evaluate:
    made = {
        "ablations": [],
        "headline_dose_e_per_a2": 1e5,
        "headline_thickness_nm": 10.0,
        "bootstrap_samples": 100,
        "convergence": {
            "material": "SrTiO3",
            "field_a": [4.0, 8.0],
            "thickness_nm": [2.0],
            "pixel_a": [0.16, 0.12],
            "pixel_thickness_nm": [2.0],
        },
        "seed": 0,
    }
    return check(Evaluate, made | changes)


def answers_of(estimator, noise, *, seed=None, stage=None, detector=RING, control=None, doses=DOSES):
    """The truth with white noise, V Å, at every dose."""
    rng = np.random.default_rng(1)
    for dose in doses:
        potential = SAMPLES.potential + noise * rng.standard_normal(SAMPLES.potential.shape)
        yield Prediction(estimator, seed, stage, detector, control, dose, potential.astype(np.float32))


ANSWERS = [
    *answers_of("ridge", 500),
    *answers_of("ridge", 500, detector=MATCHED),
    *answers_of("published", 800, seed=0),
    *answers_of("corrected", 300, seed=0, stage="pretrain"),
    *answers_of("corrected", 200, seed=0),
    *answers_of("corrected", 200, seed=0, detector=MATCHED),
    *answers_of("corrected", 900, seed=0, control="metadata=shuffled", doses=[1e5]),
    *answers_of("corrected", 400, seed=0, control="thickness_error_percent=10", doses=[1e5]),
    *answers_of("only_joint_minmax", 600, seed=0, doses=[1e3, 1e5]),
    *(
        Prediction("zeros", None, None, name, None, dose, 0 * SAMPLES.potential)
        for name in (RING, MATCHED)
        for dose in DOSES
    ),
]


@pytest.fixture(scope="module")
def images():
    return comparison.image_metrics(ANSWERS, SAMPLES, HELD_OUT, settings())


@pytest.fixture(scope="module")
def table(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "metrics.csv"
    write_metrics(comparison.metric_rows(images, settings()), path)
    return read_metrics(path)


def value(table, estimator, metric, condition=HEADLINE):
    rows = under(table, condition)
    (row,) = rows[(rows["estimator"] == estimator) & (rows["metric"] == metric)].to_dict("records")
    return row


def test_the_headline_is_the_mean_of_its_images_over_crystals_that_were_seen(images, table):
    chosen = images[
        (images["estimator"] == "ridge")
        & (images["detector"] == RING)
        & (images["dose_e_per_a2"] == 1e5)
        & (images["kind"] == FILLED)
        & (images["material"] != HELD_OUT)
        & (images["thickness_nm"] <= 10)
    ]
    row = value(table, "ridge", "mae_volt_angstrom")
    assert row["value"] == pytest.approx(chosen["mae_volt_angstrom"].mean(), rel=1e-5)
    assert row["n"] == chosen["specimen"].nunique() == 6
    assert np.isnan(row["low"])  # too few crystals for an interval


def test_an_interval_rests_on_specimens_not_on_images(images):
    """Counting the images of a specimen twice does not narrow the interval."""
    zeros = images[(images["estimator"] == "zeros")]
    tables = [comparison.metric_rows(part, settings()) for part in (zeros, pd.concat([zeros, zeros]))]
    for once, twice in zip(*tables, strict=True):
        assert once["n"] == twice["n"] <= 9
        assert once["sources"]["value"].tolist() == pytest.approx(twice["sources"]["value"].tolist())


def test_seen_and_unseen_stages_and_controls_have_conditions_of_their_own(table):
    top = "dose_e_per_a2=100000;kind=filled;materials="
    for text in (
        f"detector=matched;{top}seen;thickness_max_nm=10",
        f"detector=ring;{top}unseen;stage=pretrain;thickness_max_nm=10",
        f"detector=ring;{top}seen;metadata=shuffled;thickness_max_nm=10",
        f"detector=ring;{top}seen;thickness_error_percent=10;thickness_max_nm=10",
        f"detector=ring;{top}unseen;thickness_nm=40",
        "detector=ring;dose_e_per_a2=100000;kind=filled;material=GaN;thickness_max_nm=10",
        "detector=ring;dose_e_per_a2=inf;kind=patch;materials=all",
        "detector=ring;dose_e_per_a2=100000;fault=joint_minmax;kind=filled;materials=seen;thickness_max_nm=10",
    ):
        assert value(table, "corrected", "pearson", text)["value"] > 0, text
    assert not (table["estimator"] == "only_joint_minmax").any()
    assert not table["condition"].str.contains("dose_e_per_a2=1000;fault").any()


def test_zeros_are_in_every_comparison_and_know_nothing(table):
    assert value(table, "zeros", "pearson")["value"] == 0
    assert value(table, "zeros", "mean_bias_percent")["value"] == -100
    patches = value(table, "zeros", "psnr_db_range_600000", "detector=ring;dose_e_per_a2=inf;kind=patch;materials=all")
    truth = SAMPLES.potential[SAMPLES.kind == PATCH].astype(float)
    assert patches["value"] == pytest.approx(np.mean(-10 * np.log10((truth**2).mean(axis=(1, 2)) / 6e5**2)), rel=1e-5)


def test_a_gain_is_the_difference_of_the_same_images(table):
    gain = value(table, "corrected", "pearson_highpass_1.2A_gain_over_ridge")
    numbers = [value(table, name, "pearson_highpass_1.2A")["value"] for name in ("corrected", "ridge")]
    assert gain["value"] == pytest.approx(numbers[0] - numbers[1], abs=1e-5)
    assert gain["value"] > 0
    before = "detector=ring;dose_e_per_a2=100000;kind=filled;materials=unseen;stage=pretrain;thickness_max_nm=10"
    assert value(table, "corrected", "pearson_gain_over_ridge", before)["value"] > 0


@pytest.mark.parametrize(
    ("changed", "held_out", "message"),
    [
        ({"ablations": ["joint_minmax", "patch_in_vacuum"]}, HELD_OUT, "patch_in_vacuum"),
        ({"headline_dose_e_per_a2": 2e4}, HELD_OUT, "1000, 100000"),
        ({"headline_thickness_nm": 5.0}, HELD_OUT, "headline_thickness_nm"),
    ],
)
def test_what_is_missing_is_named_in_one_sentence(images, changed, held_out, message):
    with pytest.raises(InputError, match=message) as raised:
        comparison.check_complete(images, settings(**changed), held_out)
    assert "\n" not in str(raised.value)


def test_what_is_complete_passes(images):
    comparison.check_complete(images, settings(ablations=["joint_minmax"]), HELD_OUT)


def predictions(path, shape=SAMPLES.potential.shape):
    """A file of the stage predict."""
    at_dose, noise_free = (condition(detector=RING, dose_e_per_a2=dose) for dose in (1e5, NOISE_FREE))
    control = condition(detector=RING, dose_e_per_a2=1e5, metadata="shuffled")
    nothing = {"potential": np.zeros(shape, np.float32)}
    answers = {("pretrained", at_dose): nothing, ("pretrained", noise_free): nothing}
    answers |= {("finetuned", at_dose): {"potential": SAMPLES.potential}, ("finetuned", control): nothing}
    write_predictions(path, "corrected", 3, answers, count_seed=0)
    return read_predictions(path)


def test_predictions_are_read_stage_by_stage_and_zeros_answer_beside_them(tmp_path):
    file = predictions(tmp_path / "p.npz")
    answers = list(comparison.predictions_in(file, SAMPLES))
    assert [(answer.stage, answer.control, answer.seed, answer.dose_e_per_a2) for answer in answers] == [
        ("pretrain", None, 3, 1e5),
        ("pretrain", None, 3, NOISE_FREE),
        (None, None, 3, 1e5),
        (None, "metadata=shuffled", 3, 1e5),
    ]
    trivial = list(comparison.zeros(SAMPLES, [file, file]))
    assert [(answer.detector, answer.dose_e_per_a2) for answer in trivial] == [(RING, 1e5), (RING, NOISE_FREE)]
    assert all(answer.potential.shape == SAMPLES.potential.shape and not answer.potential.any() for answer in trivial)


def test_predictions_of_other_samples_are_refused(tmp_path):
    file = predictions(tmp_path / "p.npz", (2, 32, 32))
    with pytest.raises(InputError, match=r"p\.npz: pretrained/.*/potential"):
        list(comparison.predictions_in(file, SAMPLES))


def test_other_settings_of_the_microscope_are_compared_with_their_own_samples():
    """The first samples again, under a defocus: their own rows, at their thickness, and nothing in the other rows."""
    again = SAMPLES.rows(np.flatnonzero((SAMPLES.kind == FILLED) & (SAMPLES.thickness_nm == 10)))
    samples = joined([SAMPLES, replace(again, setting=np.array(["defocus_a=50"] * len(again)))])
    answers = [
        Prediction("ridge", None, None, RING, None, 1e5, SAMPLES.potential),
        Prediction("ridge", None, None, RING, "defocus_a=50", 1e5, again.potential + 100),
    ]
    images = comparison.image_metrics(answers, samples, HELD_OUT, settings())
    assert (images["setting"] == "").sum() == len(SAMPLES) and len(images) == len(samples)
    rows = {row["condition"]: row for row in comparison.metric_rows(images, settings()) if "mae" in row["metric"]}
    at = "defocus_a=50;detector=ring;dose_e_per_a2=100000;kind=filled;materials={};thickness_nm=10"
    assert rows[at.format("seen")]["value"] == pytest.approx(100, rel=1e-3)
    assert rows[at.format("unseen")]["n"] == 3
    assert rows[comparison.headline(settings())]["value"] == 0


def test_a_lattice_average_is_judged_beside_the_estimate_at_the_headline():
    predictions = [*answers_of("ridge", 500), *answers_of("published", 500, seed=0)]
    judged = list(comparison.with_lattice_averages(predictions, SAMPLES, settings()))
    assert [answer.estimator for answer in judged].count("ridge_lattice") == 1
    (average,) = [answer for answer in judged if answer.estimator == "ridge_lattice"]
    filled = SAMPLES.kind == FILLED
    errors = [
        np.std(potential[filled] - SAMPLES.potential[filled])
        for potential in (predictions[1].potential, average.potential)
    ]
    assert errors[1] < 0.9 * errors[0]
    assert np.array_equal(average.potential[~filled], predictions[1].potential[~filled])


def test_crystals_on_the_zone_axis_have_rows_of_their_own():
    rotation_deg = SAMPLES.rotation_deg * np.where(np.char.endswith(SAMPLES.specimen, "-0"), 0, 1)[:, None]
    samples = replace(SAMPLES, rotation_deg=rotation_deg)
    images = comparison.image_metrics(answers_of("ridge", 500), samples, HELD_OUT, settings())
    found = [row for row in comparison.metric_rows(images, settings()) if "tilt_deg=0" in row["condition"]]
    assert {row["n"] for row in found if "materials=seen" in row["condition"]} == {2}


def test_examples_show_what_was_seen_what_was_not_and_a_patch_at_the_last_stage(tmp_path):
    examples = comparison.example_images(SAMPLES, [predictions(tmp_path / "p.npz")], settings(), HELD_OUT)
    assert examples["estimators"].tolist() == ["corrected"]
    assert [name.split(", ")[1] for name in examples["names"].tolist()] == ["seen", "held out", "patch"]
    assert np.array_equal(examples["predicted"][0], examples["truth"])
    assert examples["sums"].shape == (3, 32, 32)
