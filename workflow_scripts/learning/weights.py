"""Weights of a network as safetensors: read without unpickling, and equal weights give equal bytes."""

import json
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from workflow_scripts.workflow.arrays import reason
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import sync, whole

# All metadata are in this one entry, since safetensors writes several entries in random order.
_METADATA = "beamtime"


def on_cpu(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A contiguous copy of each tensor in the memory of the CPU."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def to_bytes(tensors: dict[str, torch.Tensor], metadata: dict) -> bytes:
    """The bytes of a safetensors file: CPU tensors, and metadata that can be written as JSON."""
    return save(tensors, {_METADATA: json.dumps(metadata)})


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors and the metadata of a safetensors file; the metadata are {} if another program wrote the file.

    Raises:
        OSError: the file cannot be read.
        SafetensorError, ValueError: it is truncated, or not safetensors.
    """
    with safe_open(path, framework="pt") as file:
        try:
            metadata = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
        except RecursionError:
            raise ValueError("its metadata are nested too deep") from None
        if not isinstance(metadata, dict):
            raise ValueError("its metadata are not a dictionary")
        # Cloned, since get_tensor returns views of the file
        return {name: file.get_tensor(name).clone() for name in file.keys()}, metadata  # noqa: SIM118


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that, even after a crash or power cut, it is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_bytes(content)
    sync(path.parent)  # the new name itself is an entry of the folder


def save_weights(state: dict[str, torch.Tensor], path: Path, metadata: dict) -> None:
    """Write a state dict and `metadata`, which can be written as JSON, as one safetensors file."""
    write_atomically(path, to_bytes(on_cpu(state), metadata))


def read_metadata(path: Path, method: str | None = None, keys: Collection[str] = ()) -> dict:
    """The metadata that `save_weights` wrote beside the tensors.

    Args:
        path: the file.
        method: the method to which the weights must belong; None for any.
        keys: of the method's metadata, by which its weights are recognised if their metadata do not name it.

    Raises:
        InputError: the file is missing, damaged, not written by `save_weights`, or of another method.
    """
    _, metadata = _read_or_refuse(path)
    if not metadata:
        raise InputError(f"{path}: these weights have no description of their network; make the file again")
    is_of_method = set(keys) <= metadata.keys() if keys else method in (None, metadata.get("method"))
    if not is_of_method:
        raise InputError(f"{path}: these weights are of another method; give those of {method}")
    return metadata


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load a file of `save_weights` into a model of the same architecture.

    Raises:
        InputError: the file is missing or damaged, or its tensors do not match the model or are not finite.
    """
    tensors, _ = _read_or_refuse(path)
    types = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"{path}: the weights do not fit the network: {reason(error)}; "
            "use the network settings with which they were trained"
        ) from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != types[name].is_floating_point:
            raise InputError(
                f"{path}: the weights {name} are of another type, {tensor.dtype} where the network has {types[name]}; "
                "train again"
            )
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: the weights {name} hold a value that is not a finite number; train again")


def _read_or_refuse(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    try:
        return read(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(
            f"{path}: these weights cannot be read as safetensors ({error}); make the file again"
        ) from error
