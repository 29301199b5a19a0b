"""Checkpoints of a training: one safetensors file each, named by its step and its digest.

No file is ever unpickled. A damaged checkpoint is reported in one line, and the training starts from an older one.
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from workflow_scripts.learning import weights
from workflow_scripts.workflow.files import partial_name

_KEPT = 2  # the newest may be damaged
_NAME = re.compile(r"step(\d+)-([0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `step` steps.

    `run` identifies the training (settings, seed, shapes of the network): a checkpoint of another one is not
    used. `tensors` are on the CPU, flat; `facts` are values for JSON, whose floats return bit-equal.
    """

    step: int
    run: dict
    tensors: dict[str, torch.Tensor]
    facts: dict


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into `folder` and remove all but the last two.

    A full or read-only disk is reported and the training goes on: only the possibility to resume is lost.
    """
    metadata = {"step": checkpoint.step, "run": checkpoint.run, "facts": checkpoint.facts}
    content = weights.to_bytes(checkpoint.tensors, metadata)
    try:
        weights.write_atomically(folder / f"step{checkpoint.step}-{_digest(content)}.safetensors", content)
        for path in folder.glob(partial_name(folder / "*").name):  # of a process that was killed while it wrote
            path.unlink()
        # Checkpoints of later steps were skipped when this training started
        paths = _newest_first(folder)
        newest = [path for path in paths if _step(path) <= checkpoint.step][:_KEPT]
        for path in set(paths).difference(newest):
            path.unlink()
    except OSError as error:
        _warn(f"checkpoint at step {checkpoint.step} not written ({error}); the training goes on")


def load_newest(folder: Path, run: dict) -> Checkpoint | None:
    """The newest checkpoint of `run` that is whole, or None; every skipped one is reported in a line."""
    for path in _newest_first(folder):
        try:
            whole = _NAME.fullmatch(path.name)[2] == _digest(path.read_bytes())
            tensors, metadata = weights.read(path) if whole else ({}, {})
        except (OSError, SafetensorError, ValueError) as error:
            _warn(f"{path}: this checkpoint cannot be read ({error}); it is skipped")
            continue
        if not whole:
            _warn(f"{path}: this checkpoint is damaged (its digest is another); it is skipped")
        elif metadata.get("run") != run:
            _warn(f"{path}: this checkpoint is of another training; it is skipped")
        elif not {"step", "facts"} <= metadata.keys():
            _warn(f"{path}: this checkpoint does not say where the training was; it is skipped")
        else:
            return Checkpoint(metadata["step"], run, tensors, metadata["facts"])
    return None


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
