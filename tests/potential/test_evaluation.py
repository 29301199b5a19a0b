"""From predictions to metrics: conditions, intervals, gains, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from tests.potential.toy import toy_samples
from workflow_scripts.potential import evaluation
from workflow_scripts.potential.counting import NOISE_FREE
from workflow_scripts.potential.evaluation import Answer
from workflow_scripts.potential.samples import FILLED, MATCHED, PATCH, RING
from workflow_scripts.potential.settings import Evaluate
from workflow_scripts.study.tables import HEADLINE, read_metrics, write_metrics
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check

SAMPLES = toy_samples(3, 32, seed=4)
DOSES = [1e3, 1e5, NOISE_FREE]
HELD_OUT = "GaN"


def settings(**changes) -> Evaluate:
    made = {
        "baselines": ["ridge"],
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


def answer(estimator, noise, *, seed=None, stage=None, detector=RING, metadata=None, doses=DOSES):
    """The truth with white noise, V Å."""
    rng = np.random.default_rng(1)
    shape = (len(SAMPLES), len(doses), 32, 32)
    wrong = SAMPLES.potential[:, None] + noise * rng.standard_normal(shape)
    return Answer(estimator, seed, stage, detector, metadata, list(doses), wrong.astype(np.float32))


ANSWERS = [
    *evaluation.zeros(SAMPLES, DOSES),
    answer("ridge", 500),
    answer("ridge", 500, detector=MATCHED),
    answer("published", 800, seed=0),
    answer("corrected", 300, seed=0, stage="pretrain"),
    answer("corrected", 200, seed=0),
    answer("corrected", 200, seed=0, detector=MATCHED),
    answer("corrected", 900, seed=0, metadata="shuffled", doses=[1e3, 1e5]),
    answer("only_joint_minmax", 600, seed=0, doses=[1e3, 1e5]),
]


@pytest.fixture(scope="module")
def images():
    return evaluation.image_metrics(ANSWERS, SAMPLES, HELD_OUT, 1e5)


@pytest.fixture(scope="module")
def table(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "metrics.csv"
    write_metrics(evaluation.metric_rows(images, settings()), path)
    return read_metrics(path)


def value(table, estimator, metric, condition=HEADLINE):
    (found,) = table[
        (table["estimator"] == estimator) & (table["metric"] == metric) & (table["condition"] == condition)
    ].to_dict("records")
    return found


def test_the_headline_is_the_mean_of_its_images_over_crystals_that_were_seen(images, table):
    chosen = images[
        (images["estimator"] == "ridge")
        & (images["detector"] == RING)
        & (images["dose_e_per_a2"] == 1e5)
        & (images["kind"] == FILLED)
        & (images["material"] != HELD_OUT)
        & (images["thickness_nm"] <= 10)
    ]
    found = value(table, "ridge", "mae_volt_angstrom")
    assert found["value"] == pytest.approx(chosen["mae_volt_angstrom"].mean(), rel=1e-5)
    assert found["n"] == chosen["specimen"].nunique() == 6
    assert found["low"] < found["value"] < found["high"]


def test_an_interval_rests_on_specimens_not_on_images(images):
    """Images of one specimen that are told twice narrow nothing."""
    zeros = images[(images["estimator"] == "zeros")]
    found = [evaluation.metric_rows(part, settings()) for part in (zeros, pd.concat([zeros, zeros]))]
    for once, twice in zip(*found, strict=True):
        assert once["n"] == twice["n"] <= 9
        assert (once["low"], once["high"]) == pytest.approx((twice["low"], twice["high"]))


def test_seen_and_unseen_stages_and_controls_have_conditions_of_their_own(table):
    top = "dose_e_per_a2=100000;kind=filled;materials="
    for condition in (
        f"detector=matched;{top}seen;thickness_max_nm=10",
        f"detector=ring;{top}unseen;stage=pretrain;thickness_max_nm=10",
        f"detector=ring;{top}seen;metadata=shuffled;thickness_max_nm=10",
        f"detector=ring;{top}unseen;thickness_nm=40",
        "detector=ring;dose_e_per_a2=100000;kind=filled;material=GaN;thickness_max_nm=10",
        "detector=ring;dose_e_per_a2=inf;kind=patch;materials=all",
        "detector=ring;dose_e_per_a2=100000;fault=joint_minmax;kind=filled;materials=seen;thickness_max_nm=10",
    ):
        assert value(table, "corrected", "pearson", condition)["value"] > 0, condition
    assert not (table["estimator"] == "only_joint_minmax").any()
    assert not table["condition"].str.contains("dose_e_per_a2=1000;.*shuffled").any()


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
    assert gain["low"] > 0
    before = "detector=ring;dose_e_per_a2=100000;kind=filled;materials=unseen;stage=pretrain;thickness_max_nm=10"
    assert value(table, "corrected", "pearson_gain_over_ridge", before)["value"] > 0


@pytest.mark.parametrize(
    ("changed", "held_out", "said"),
    [
        ({"baselines": ["ridge", "icom"]}, HELD_OUT, "icom"),
        ({"ablations": ["joint_minmax", "patch_in_vacuum"]}, HELD_OUT, "patch_in_vacuum"),
        ({"headline_dose_e_per_a2": 2e4}, HELD_OUT, "1000, 100000"),
        ({"headline_thickness_nm": 5.0}, HELD_OUT, "headline_thickness_nm"),
    ],
)
def test_what_is_missing_is_named_in_one_sentence(images, changed, held_out, said):
    with pytest.raises(InputError, match=said) as raised:
        evaluation.check_complete(images, settings(**changed), held_out)
    assert "\n" not in str(raised.value)


def test_what_is_complete_passes(images):
    evaluation.check_complete(images, settings(ablations=["joint_minmax"]), HELD_OUT)


def predictions(path, **changes):
    shape = (len(SAMPLES), 2, 32, 32)
    arrays = {
        "estimator": "corrected",
        "seed": 3,
        "stages": ["pretrained", "finetuned"],
        "detectors": [RING],
        "dose_e_per_a2": np.array([1e5, NOISE_FREE]),
        "counted_dose_e_per_a2": np.array([1e5]),
        "count_seed": 0,
        "pretrained.ring.potential": np.zeros(shape, np.float32),
        "finetuned.ring.potential": np.broadcast_to(SAMPLES.potential[:, None], shape),
        "finetuned.ring.shuffled": np.zeros((len(SAMPLES), 1, 32, 32), np.float32),
    }
    write_arrays(path, arrays | changes)
    return path


def test_a_file_of_predictions_is_read_stage_by_stage(tmp_path):
    found = list(evaluation.read_answers(predictions(tmp_path / "p.npz"), SAMPLES))
    assert [(each.stage, each.metadata, each.seed) for each in found] == [
        ("pretrain", None, 3),
        (None, None, 3),
        (None, "shuffled", 3),
    ]
    assert found[2].dose_e_per_a2 == [1e5]


def test_predictions_of_other_samples_are_refused(tmp_path):
    path = predictions(tmp_path / "p.npz", **{"pretrained.ring.potential": np.zeros((2, 2, 32, 32), np.float32)})
    with pytest.raises(InputError, match=r"p\.npz: pretrained\.ring\.potential"):
        list(evaluation.read_answers(path, SAMPLES))


def test_examples_show_what_was_seen_what_was_not_and_a_patch_at_the_last_stage(tmp_path):
    path = predictions(tmp_path / "p.npz")
    found = evaluation.example_images(SAMPLES, [path], settings(), HELD_OUT, 0)
    assert found["estimators"].tolist() == ["corrected"]
    assert [name.split(", ")[1] for name in found["names"].tolist()] == ["seen", "held out", "patch"]
    assert np.array_equal(found["predicted"][0], found["truth"])
    assert found["sums"].shape == (3, 32, 32)
