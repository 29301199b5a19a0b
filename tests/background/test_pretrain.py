"""The stage scripts of training and prediction: what they hand on, what they refuse, how the loop resumes."""

import csv
from dataclasses import asdict

import numpy as np
import pytest

from tests.background import training
from tests.background.toy import toy_bank, toy_tiles
from workflow_scripts.background import finetune, model, predict, pretrain
from workflow_scripts.background.variants import ARMS
from workflow_scripts.learning.weights import read, read_metadata
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, write_arrays
from workflow_scripts.workflow.settings import check

COMPUTE = {"gpus": 0, "precision": "float32"}
PREDICT = {
    "batch_size": 64, "steps": 2, "samples": 2, "curve_steps": [1, 3], "curve_tiles": 2, "seed": 0, "training_seed": 0
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, made in (("shard0", toy_bank()), ("test", toy_tiles())):
        write_arrays(folder / f"{name}.npz", {key: np.asarray(value) for key, value in asdict(made).items()})
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


def run_predict(folder, files, estimator, **inputs):
    arguments = check(predict.Arguments, PREDICT | COMPUTE | {"estimator": estimator})
    path = folder / f"{estimator}.npz"
    given = {"test": [files / "test.npz"]} | {name: [value] for name, value in inputs.items()}
    predict.predict(Job(arguments, given, {"predictions": path}, folder / "none"))
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


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
    found = run_predict(tmp_path, files, arm, pretrained=outputs["weights"], finetuned=fine)
    names = {"estimator", "seed", "stages", "pretrained.n2.log_flat", "finetuned.n2.log_flat"}
    if arm != "published":
        names |= {"finetuned.n4.log_flat", "finetuned.n16.log_flat"}
    if arm == "corrected":
        names |= {name.replace("log_flat", "spread") for name in names if "log_flat" in name}
        names |= {"curve.steps", "curve.tiles", "curve.log_flat"}
        assert found["curve.steps"].tolist() == [1, 3] and found["curve.tiles"][0] == 0
    assert set(found) == names
    shape = read_arrays(files / "test.npz", ("counts",))["counts"].shape
    own = [name for name in names if name.endswith(("log_flat", "spread")) and not name.startswith("curve")]
    assert all(found[name].shape == shape for name in own)
    if arm == "corrected":
        assert found["curve.log_flat"].shape == (2, shape[0], 2, *shape[2:])
    assert found["stages"].tolist() == ["pretrained", "finetuned"]


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        ("gaussian", {"n1"}),
        ("median_2", {"n2"}),
        ("median_16", {"n16"}),
        ("eigen_flats", {"same", "earlier"}),
    ],
)
def test_classical_estimators_need_the_tiles_alone(tmp_path, files, estimator, names):
    found = run_predict(tmp_path, files, estimator)
    assert set(found) == {"estimator", "seed", "stages"} | {f"fitted.{name}.log_flat" for name in names}
    truth = read_arrays(files / "test.npz", ("log_flat",))["log_flat"]
    for name in names:
        error = found[f"fitted.{name}.log_flat"] - truth
        assert error.std(axis=(-2, -1)).mean() < truth.std(axis=(-2, -1)).mean()


def test_predict_says_what_it_lacks(tmp_path, files):
    with pytest.raises(InputError, match="--estimator corrected needs --pretrained"):
        run_predict(tmp_path, files, "corrected")


def test_weights_of_another_arm_are_not_finetuned(tmp_path, files):
    with pytest.raises(InputError, match="of the arm unet, not corrected"):
        run_finetune(tmp_path, files, "corrected", run_pretrain(tmp_path, files, "unet")["weights"])


def test_both_arms_train_the_same_network(tmp_path, files, monkeypatch):
    made = []
    real = model.make_network
    monkeypatch.setattr(pretrain, "make_network", lambda *given: made.append(given) or real(*given))
    for arm in ARMS:
        run_pretrain(tmp_path, files, arm)
    assert [n_in for _, n_in, _ in made] == [3, 7, 7]
    assert len({str(settings) for settings, *_ in made}) == 1
