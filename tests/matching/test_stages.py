"""The stage scripts on a small study: both arms, an arm of the ablation, resumed training, what is missing."""

import numpy as np
import pytest
from pydantic import create_model

from tests.matching import toy_baseline
from tests.matching.training import AUGMENTATION, LOSS, NETWORK, REFIT, TRAINING, pair_arrays, queries
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.matching import finetune, predict, pretrain
from workflow_scripts.matching.estimators import chance, ncc, network, polar_template, refit, untrained
from workflow_scripts.matching.evaluation import metrics, statistics
from workflow_scripts.matching.networks.model import load_matcher
from workflow_scripts.study.predictions import read_predictions
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check

COMPUTE = {"gpus": 0, "precision": "float32"}
PRETRAIN = TRAINING | {
    **{"network": NETWORK.model_dump(mode="json"), "patterns": 16, "validation_patterns": 16, "queue": 16},
    **{"key_momentum": 0.9, "temperature": 0.1, "dose_min_e": 100.0, "dose_max_e": 2000.0, "recipe_dose_e": 300.0},
    **{"ablation_epochs": 1, "background_share": AUGMENTATION.background_share, "seed": 0},
}
FINETUNE = TRAINING | {
    **{"loss": LOSS.model_dump(mode="json"), "pairs": 16, "validation_pairs": 16, "ablation_epochs": 1, "seed": 0}
}
PREDICT = {"batch_size": 50, "candidates": 15, "training_seed": 0, "crystal": "polyethylene"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching")
    write_arrays(folder / "train.npz", pair_arrays())
    write_arrays(folder / "test.npz", vars(queries()))
    return folder


def pretrained(files, arm, out, **changes):
    inputs = {"shards": [files / "train.npz"]}
    if arm == "published":
        inputs["test"] = [files / "test.npz"]
    settings = check(pretrain.Arguments, PRETRAIN | COMPUTE | {"variant": arm} | changes)
    outputs = {"weights": out / f"{arm}_pre.safetensors", "history": out / f"{arm}_pre.csv"}
    pretrain.pretrain(Job(settings, inputs, outputs, out / f"{arm}_pre"))
    return outputs["weights"]


def finetuned(files, arm, weights, out):
    settings = check(finetune.Arguments, FINETUNE | COMPUTE | {"variant": arm})
    outputs = {"weights": out / f"{arm}.safetensors", "history": out / f"{arm}.csv"}
    inputs = {"pretrained": [weights], "shards": [files / "train.npz"]}
    finetune.finetune(Job(settings, inputs, outputs, out / arm))
    return outputs["weights"]


OPTIONS = {
    untrained: {"network": NETWORK.model_dump(mode="json")},
    refit: REFIT.model_dump(mode="json"),
}


def predicted(files, estimator, out, implementation=network, **inputs):
    """The file of predictions; `implementation` is the estimator's module."""
    model, settings = predict.Arguments, PREDICT | COMPUTE | {"estimator": estimator, "module": "any"}
    if hasattr(implementation, "Options"):
        model = create_model("Arguments", __base__=model, options=implementation.Options)
        settings |= {"options": OPTIONS[implementation]}
    paths = {"test": [files / "test.npz"]} | {name: [path] for name, path in inputs.items()}
    path = out / f"{estimator}.npz"
    predict.predict(Job(check(model, settings), paths, {"predictions": path}, out / "none", implementation))
    return read_predictions(path)


@pytest.mark.parametrize("arm", ["published", "corrected"])
def test_an_arm_goes_through_all_three_stages(files, tmp_path, arm):
    first = pretrained(files, arm, tmp_path)
    last = finetuned(files, arm, first, tmp_path)
    assert read_metadata(last)["arm"] == arm
    before, after = load_matcher(first).state_dict(), load_matcher(last).state_dict()
    assert any(not np.array_equal(value.numpy(), after[name].numpy()) for name, value in before.items())
    predictions = predicted(files, arm, tmp_path, pretrained=first, finetuned=last)
    assert predictions.stages == ["pretrained", "finetuned"]
    assert predictions.estimator == arm


def test_equal_seeds_give_equal_weights(files, tmp_path):
    (tmp_path / "again").mkdir()
    first, second = pretrained(files, "corrected", tmp_path), pretrained(files, "corrected", tmp_path / "again")
    assert first.read_bytes() == second.read_bytes()
    assert pretrained(files, "corrected", tmp_path, seed=1).read_bytes() != second.read_bytes()


def test_arms_of_the_ablation_take_the_corrected_pretraining_or_none(files, tmp_path):
    first = pretrained(files, "corrected", tmp_path)
    last = finetuned(files, "max_sliced", first, tmp_path)
    assert read_metadata(last)["arm"] == "max_sliced"
    assert predicted(files, "max_sliced", tmp_path, pretrained=first, finetuned=last).estimator == "max_sliced"
    untouched = load_matcher(pretrained(files, "without_pretraining", tmp_path))
    assert not untouched.observed.head.weight.any()
    assert (tmp_path / "without_pretraining_pre.csv").read_text().count("\n") == 1


BASELINES = {
    "chance": chance,
    "ncc": ncc,
    "polar_template": polar_template,
    "untrained": untrained,
    "toy_baseline": toy_baseline,
}


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_predict_from_the_files_alone(files, tmp_path, name):
    (part,) = predicted(files, name, tmp_path, BASELINES[name], shards=files / "train.npz").parts
    arrays = part.read("rotation", "score")
    assert part.stage == "fitted"
    assert arrays["rotation"].shape == (len(queries()), 15, 3, 3)
    assert (np.diff(arrays["score"], axis=1) <= 1e-6).all()
    assert statistics.read_stages(part.path, queries())[0].seed is None
    if name == "chance":
        plain = queries().kind == "plain"
        away = metrics.misorientation_deg(arrays["rotation"], queries().rotation, queries().symmetry)[plain, 0]
        assert 50 < np.median(away) < 100


def test_the_refit_takes_candidates_of_templates_or_of_a_network_and_answers_some_queries(files, tmp_path):
    weights = finetuned(files, "corrected", pretrained(files, "corrected", tmp_path), tmp_path)
    for name, inputs, last, seed in (
        ("polar_refit", {}, "fitted", None),
        ("corrected_refit", {"proposing": weights}, "finetuned", 0),
    ):
        written = predicted(files, name, tmp_path, refit, shards=files / "train.npz", **inputs)
        assert written.stages == ["dense_gallery", last]
        before, after = statistics.read_stages(written.path, queries())
        assert before.stage == "dense_gallery" and after.stage is None and before.seed == after.seed == seed
        assert (after.query == refit.answered(queries(), REFIT)).all()
        truth, symmetry = queries().rotation[after.query], queries().symmetry
        crystal = np.isin(queries().kind[after.query], ["plain", "map"])
        right = [
            (metrics.misorientation_deg(part.rotation, truth, symmetry)[crystal, 0] < 3).mean()
            for part in (before, after)
        ]
        assert right[1] >= right[0]
        # Each is the equivalent nearest to the direction of the gallery that it names
        named = queries().gallery_rotation[after.gallery_index][..., 2, :]
        assert ((after.rotation[..., 2, :] * named).sum(axis=-1) > np.cos(np.radians(12))).all()


def test_missing_inputs_are_named(files, tmp_path):
    with pytest.raises(InputError, match="--pretrained"):
        predicted(files, "corrected", tmp_path)
    with pytest.raises(InputError, match="--shards"):
        predicted(files, "ncc", tmp_path, ncc)
    with pytest.raises(InputError, match="--proposing"):
        predicted(files, "corrected_refit", tmp_path, refit, shards=files / "train.npz")
    with pytest.raises(InputError, match="'ncc', but a network must be one of"):
        predicted(files, "ncc", tmp_path, pretrained=files / "test.npz", finetuned=files / "test.npz")
    settings = check(pretrain.Arguments, PRETRAIN | COMPUTE | {"variant": "published"})
    with pytest.raises(InputError, match="--test"):
        pretrain.pretrain(Job(settings, {"shards": [files / "train.npz"]}, {}, tmp_path))
