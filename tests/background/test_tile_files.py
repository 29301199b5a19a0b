"""Files of synthesize: read back whole, or refused in one sentence that names the file and the array."""

import numpy as np
import pytest
import torch

from tests.background.synthesis import small
from workflow_scripts.background.simulation.datasets import make
from workflow_scripts.background.simulation.tile_files import read_tiles, read_training_tiles
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def arrays():
    return {split: make(small(), split, 0, CPU) for split in ("train", "test")}


def refusal(tmp_path, split, changed):
    """What reading says of a file whose arrays were changed; None: without the array."""
    path = tmp_path / "changed.npz"
    write_arrays(path, {name: value for name, value in changed.items() if value is not None})
    with pytest.raises(InputError) as refused:
        read_training_tiles([path]) if split == "train" else read_tiles(path)
    message = str(refused.value)
    assert "changed.npz" in message and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("split", "name"), [("train", "log_flat"), ("train", "log_transmission"), ("test", "counts"), ("test", "open_beam")]
)
def test_a_missing_array_is_named(tmp_path, arrays, split, name):
    assert name in refusal(tmp_path, split, arrays[split] | {name: None})


@pytest.mark.parametrize(
    ("split", "name"), [("train", "log_flat"), ("test", "log_transmission"), ("test", "references"), ("test", "counts")]
)
def test_what_is_not_a_finite_number_is_named(tmp_path, arrays, split, name):
    value = arrays[split][name].copy()
    value.flat[7] = np.nan
    message = refusal(tmp_path, split, arrays[split] | {name: value})
    assert name in message and "finite" in message


@pytest.mark.parametrize(
    ("split", "name", "wrong"),
    [
        ("train", "log_flat", lambda value: value[0]),
        ("train", "held_out", lambda value: value.astype(float)),
        ("train", "log_transmission", lambda value: value[:0]),
        ("test", "counts", lambda value: value.astype(int)),
        ("test", "open_beam", lambda value: value[..., 0]),
    ],
)
def test_axes_and_types_are_checked(tmp_path, arrays, split, name, wrong):
    message = refusal(tmp_path, split, arrays[split] | {name: wrong(arrays[split][name])})
    assert name in message and "synthesize again" in message


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04 and no more"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    for read in (read_tiles, lambda path: read_training_tiles([path])):
        with pytest.raises(InputError, match=r"broken\.npz"):
            read(path)


def test_training_files_are_joined_in_order(tmp_path):
    parts = [make(small(), "train", shard, CPU) for shard in (0, 1)]
    paths = [tmp_path / f"{shard}.npz" for shard in (0, 1)]
    for path, part in zip(paths, parts, strict=True):
        write_arrays(path, part)
    training = read_training_tiles(paths)
    for name in ("log_transmission", "log_flat", "held_out"):
        assert np.array_equal(getattr(training, name), np.concatenate([part[name] for part in parts])), name


@pytest.mark.parametrize("changes", [{"side_px": 48}, {"times": 4}, {"dark": 10.0}, {"dose_max": 900.0}])
def test_training_files_that_do_not_fit_are_refused(tmp_path, arrays, changes):
    paths = [tmp_path / "first.npz", tmp_path / "second.npz"]
    write_arrays(paths[0], arrays["train"])
    write_arrays(paths[1], make(small(**changes), "train", 1, CPU))
    with pytest.raises(InputError, match=r"second\.npz.*first\.npz"):
        read_training_tiles(paths)
