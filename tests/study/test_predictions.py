"""predictions.npz: what is written comes back, and a sentence for each way to break it."""

import numpy as np
import pytest

from workflow_scripts.study.predictions import read_predictions, write_predictions
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

ANSWERS = {
    ("pretrained", ""): {"angle_deg": np.arange(3.0)},
    ("finetuned", "tiles=2"): {"flat": np.ones((2, 4, 4)), "spread": np.zeros((2, 4, 4))},
}


@pytest.fixture
def path(tmp_path):
    write_predictions(tmp_path / "predictions.npz", "corrected", 3, ANSWERS, count_seed=7)
    return tmp_path / "predictions.npz"


def test_what_is_written_comes_back(path):
    predictions = read_predictions(path)
    assert (predictions.estimator, predictions.seed, predictions.stages) == (
        "corrected",
        3,
        ["pretrained", "finetuned"],
    )
    assert int(predictions.facts["count_seed"]) == 7
    read = {(part.stage, part.condition): part.read() for part in predictions.parts}
    assert read.keys() == ANSWERS.keys()
    for key, arrays in ANSWERS.items():
        assert read[key].keys() == arrays.keys()
        assert all(np.array_equal(read[key][name], array) for name, array in arrays.items())
    assert predictions.parts[1].values["tiles"] == "2"
    assert list(predictions.parts[1].read("flat")) == ["flat"]


def test_equal_answers_have_equal_bytes(path, tmp_path):
    write_predictions(tmp_path / "again.npz", "corrected", 3, ANSWERS, count_seed=7)
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_shapes_and_values_are_checked(path, tmp_path):
    part = read_predictions(path).parts[1]
    assert part.read("flat", shapes={"flat": (-1, 4, 4)})["flat"].shape == (2, 4, 4)
    with pytest.raises(InputError, match=r"flat is \(2, 4, 4\), but the test file needs \(3, 4, 4\); predict again"):
        part.read("flat", shapes={"flat": (3, 4, 4)})
    with pytest.raises(InputError, match="lacks"):
        part.read("absent")
    with pytest.raises(InputError, match="has no stack in its condition"):
        part.values["stack"]
    write_predictions(tmp_path / "nan.npz", "ridge", 0, {("fitted", ""): {"flat": np.array([1.0, np.nan])}})
    with pytest.raises(InputError, match="not finite"):
        read_predictions(tmp_path / "nan.npz").parts[0].read()


def test_other_files_are_refused(path, tmp_path):
    write_arrays(tmp_path / "other.npz", {"clean": np.ones(3)})
    with pytest.raises(InputError, match="lacks estimator, seed, parts"):
        read_predictions(tmp_path / "other.npz")
    write_arrays(tmp_path / "empty.npz", {"estimator": "ridge", "seed": 0, "parts": np.array([], dtype=str)})
    with pytest.raises(InputError, match="holds no prediction; predict again"):
        read_predictions(tmp_path / "empty.npz")
    write_arrays(tmp_path / "lost.npz", {"estimator": "ridge", "seed": 0, "parts": np.array(["fitted/"])})
    with pytest.raises(InputError, match="holds no prediction of fitted/, which it lists"):
        read_predictions(tmp_path / "lost.npz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError):
        read_predictions(path)
