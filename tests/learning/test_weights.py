"""Weights: equal bytes for equal weights, and a sentence for every file that does not fit."""

import copy
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from workflow_scripts.learning.weights import load_weights, read_metadata, save_weights
from workflow_scripts.workflow.errors import InputError


def network(width: int = 4, layers: int = 1) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(layers)])


def test_there_and_back_with_equal_bytes(tmp_path: Path) -> None:
    state = network().state_dict()
    metadata = {"method": "none", "seed": 3, "rate": 0.1, "axes": ["y", "x"]}
    save_weights(state, tmp_path / "a.safetensors", metadata)
    save_weights(dict(reversed(state.items())), tmp_path / "b.safetensors", metadata)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    other = network()
    nn.init.zeros_(other[0].weight)
    load_weights(other, tmp_path / "a.safetensors")
    assert read_metadata(tmp_path / "a.safetensors") == metadata
    assert all(torch.equal(other.state_dict()[name], state[name]) for name in state)


def test_shared_and_strided_tensors_are_written(tmp_path: Path) -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    state = copy.deepcopy(model.state_dict())
    strided = {name: tensor.t() if tensor.ndim == 2 else tensor for name, tensor in state.items()}
    save_weights(strided, tmp_path / "w.safetensors", {})
    load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model["b"].weight, strided["a.weight"])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (network(5), "size mismatch for 0.weight: copying a param with shape torch.Size([4, 4])"),
        (network(layers=2), 'Missing key(s) in state_dict: "1.weight", "1.bias".'),
        (nn.Sequential(), 'Unexpected key(s) in state_dict: "0.bias", "0.weight".'),
        (network(layers=9), "…; use the network settings"),
    ],
)
def test_a_mismatch_names_keys_and_shapes(tmp_path: Path, other: nn.Module, expected: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network().state_dict(), path, {})
    with pytest.raises(InputError) as caught:
        load_weights(other, path)
    assert str(caught.value).startswith(f"{path}: the weights do not fit the network: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [torch.full((4,), torch.nan), torch.ones(4, dtype=torch.int8)])
def test_weights_of_another_type_or_not_finite_are_refused(tmp_path: Path, value: torch.Tensor) -> None:
    save_weights(network().state_dict() | {"0.bias": value}, tmp_path / "w.safetensors", {})
    with pytest.raises(InputError, match=r"the weights 0.bias (hold a value|are of another type).*train again"):
        load_weights(network(), tmp_path / "w.safetensors")


@pytest.mark.parametrize("damage", ["truncated", "empty", "pickle", "missing", "folder"])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network().state_dict(), path, {})
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-7])
        case "empty":
            path.write_bytes(b"")
        case "pickle":
            torch.save(network().state_dict(), path)
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
    with pytest.raises(InputError, match=r"w.safetensors: these weights cannot be read") as caught:
        load_weights(network(), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "replace")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(4).state_dict(), path, {})
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(owner, call, full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(network(5).state_dict(), path, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
