"""The stage scripts of training and prediction: their outputs, and the inputs that they refuse."""

import csv
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from tests.background import toy_baseline, training
from tests.background.toy import toy_tiles, toy_training_tiles
from workflow_scripts.background import finetune, predict, pretrain
from workflow_scripts.background.estimators import basic, eigen_flats, gated, gaussian, median, network
from workflow_scripts.background.networks import model
from workflow_scripts.background.settings import ARMS
from workflow_scripts.learning.weights import read, read_metadata
from workflow_scripts.study.predictions import read_predictions
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, write_arrays
from workflow_scripts.workflow.settings import check

COMPUTE = {"gpus": 0, "precision": "float32"}
SAMPLER = {"batch_size": 64, "steps": 2, "samples": 2, "curve_steps": [1, 3], "curve_tiles": 2, "seed": 0}
TUNING = {"sessions": 2, "seed": 0}
OPTIONS = {
    network: SAMPLER,
    gated: TUNING | {"smoothing_px": [1.0], "brighter": [20.0], "softness": [2.0, 4.0]},
    basic: TUNING | {"smoothness": [1.0, 3.0]},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, tiles in (("shard0", toy_training_tiles()), ("test", toy_tiles())):
        write_arrays(folder / f"{name}.npz", {key: np.asarray(value) for key, value in asdict(tiles).items()})
    return folder


def run_pretrain(folder, files, arm, **changes):
    arguments = training.pretrain(pretrain.Arguments, variant=arm, seed=0, **COMPUTE, **changes)
    outputs = {"weights": folder / f"{arm}.safetensors", "history": folder / f"{arm}.csv"}
    pretrain.pretrain(Job(arguments, {"shards": [files / "shard0.npz"]}, outputs, folder / f"checkpoints-{arm}"))
    return outputs


def run_finetune(folder, files, arm, pretrained):
    arguments = training.finetune(finetune.Arguments, variant=arm, seed=0, learning_rate=1e-9, **COMPUTE)
    outputs = {"weights": folder / f"{arm}-fine.safetensors", "history": folder / f"{arm}-fine.csv"}
    inputs = {"shards": [files / "shard0.npz"], "pretrained": [pretrained]}
    finetune.finetune(Job(arguments, inputs, outputs, folder / f"checkpoints-fine-{arm}"))
    return outputs


def run_predict(folder, files, estimator, implementation, **inputs):
    has_options = implementation in OPTIONS
    options = {"options": check(implementation.Options, OPTIONS[implementation])} if has_options else {}
    arguments = SimpleNamespace(estimator=estimator, module="network", training_seed=0, **COMPUTE, **options)
    path = folder / f"{estimator}.npz"
    inputs_of_job = {"test": [files / "test.npz"]} | {name: [value] for name, value in inputs.items()}
    predict.predict(Job(arguments, inputs_of_job, {"predictions": path}, folder / "none", implementation))
    return read_predictions(path)


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_goes_through_all_stages(tmp_path, files, arm):
    outputs = run_pretrain(tmp_path, files, arm, epochs=2)
    with outputs["history"].open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 2
    about = read_metadata(outputs["weights"])
    assert (about["arm"], about["side_px"], about["largest_set"]) == (arm, 32, 4)
    fine = run_finetune(tmp_path, files, arm, outputs["weights"])["weights"]
    before, after = (read(path)[0] for path in (outputs["weights"], fine))
    moved = max(float((before[name] - after[name]).abs().max()) for name in before)
    assert (moved > 1e-3) == ARMS[arm].weights_load_loosely  # at this learning rate only another start differs
    predictions = run_predict(tmp_path, files, arm, network, pretrained=outputs["weights"], finetuned=fine)
    expected = [("pretrained", "tiles=2"), ("finetuned", "tiles=2")]
    if arm != "published":
        expected += [("finetuned", "tiles=4"), ("finetuned", "tiles=16")]
    curve = [("finetuned", "steps=1;tiles=2"), ("finetuned", "steps=3;tiles=2")] if arm == "corrected" else []
    assert [(part.stage, part.condition) for part in predictions.parts] == expected + curve
    shape = read_arrays(files / "test.npz", ("counts",))["counts"].shape
    for part in predictions.parts:
        arrays = part.read()
        if "steps" in part.values:
            assert arrays.keys() == {"log_flat", "tile_numbers"} and arrays["tile_numbers"].tolist() == [0, 15]
            assert arrays["log_flat"].shape == (shape[0], 2, *shape[2:])
        else:
            assert arrays.keys() == ({"log_flat", "spread"} if arm == "corrected" else {"log_flat"})
            assert all(array.shape == shape for array in arrays.values())


@pytest.mark.parametrize(
    ("estimator", "module", "conditions"),
    [
        ("gaussian", gaussian, ["tiles=1"]),
        ("median_2", median, ["tiles=2"]),
        ("median_16", median, ["tiles=16"]),
        ("gated_2", gated, ["tiles=2"]),
        ("gated_16", gated, ["tiles=16"]),
        ("basic_16", basic, ["tiles=16"]),
        ("eigen_flats", eigen_flats, ["references=same", "references=earlier"]),
        ("toy_baseline", toy_baseline, ["tiles=16"]),
    ],
)
def test_classical_estimators_are_better_than_none(tmp_path, files, estimator, module, conditions):
    shards = {"shards": files / "shard0.npz"} if module in (gated, basic) else {}
    predictions = run_predict(tmp_path, files, estimator, module, **shards)
    assert [(part.stage, part.condition) for part in predictions.parts] == [("fitted", text) for text in conditions]
    truth = read_arrays(files / "test.npz", ("log_flat",))["log_flat"]
    for part in predictions.parts:
        error = part.read("log_flat", shapes={"log_flat": truth.shape})["log_flat"] - truth
        assert error.std(axis=(-2, -1)).mean() < truth.std(axis=(-2, -1)).mean()


@pytest.mark.parametrize("estimator", ["median", "mean_2", "median_0", "median_2_4"])
def test_the_module_median_refuses_other_names(tmp_path, files, estimator):
    with pytest.raises(InputError, match=f"--estimator is {estimator}, but this module accepts only median_N"):
        run_predict(tmp_path, files, estimator, median)


@pytest.mark.parametrize("module", [gated, basic])
def test_settings_are_chosen_on_training_sessions_alone(tmp_path, files, module):
    name = f"{module.__name__.rpartition('.')[2]}_2"
    with pytest.raises(InputError, match="needs --shards"):
        run_predict(tmp_path, files, name, module)
    arrays = read_arrays(files / "shard0.npz", tuple(asdict(toy_training_tiles())))
    write_arrays(tmp_path / "held.npz", dict(arrays) | {"held_out": np.ones(len(arrays["held_out"]), bool)})
    with pytest.raises(InputError, match="hold no session of a microscope that is not tested"):
        run_predict(tmp_path, files, name, module, shards=tmp_path / "held.npz")


def test_predict_names_the_missing_input(tmp_path, files):
    with pytest.raises(InputError, match="--module network needs --pretrained"):
        run_predict(tmp_path, files, "corrected", network)


def test_weights_of_another_arm_are_not_finetuned(tmp_path, files):
    with pytest.raises(InputError, match="of the arm unet, not corrected"):
        run_finetune(tmp_path, files, "corrected", run_pretrain(tmp_path, files, "unet")["weights"])


def test_both_arms_train_the_same_network(tmp_path, files, monkeypatch):
    networks = []
    real = model.make_network
    monkeypatch.setattr(pretrain, "make_network", lambda *arguments: networks.append(arguments) or real(*arguments))
    for arm in ARMS:
        run_pretrain(tmp_path, files, arm)
    assert [n_in for _, n_in, _ in networks] == [3, 7, 7]
    assert len({str(settings) for settings, *_ in networks}) == 1
