"""Checkpoints of a training: safetensors files, named by step and digest.

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

_KEPT = 2  # checkpoints, since the newest may be damaged
_NAME = re.compile(r"step(\d+)-([0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `step` steps.

    `run` identifies the training (settings, seed, shapes of the network); checkpoints of other trainings are not used.
    `tensors` are on the CPU, in one flat dictionary; `facts` are the other values, stored as JSON without rounding.
    """

    step: int
    run: dict
    tensors: dict[str, torch.Tensor]
    facts: dict


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into `folder` and remove all but the last two.

    If the disk is full or read-only, this is reported and the training continues; it can only not be resumed.
    """
    metadata = {"step": checkpoint.step, "run": checkpoint.run, "facts": checkpoint.facts}
    content = weights.to_bytes(checkpoint.tensors, metadata)
    try:
        weights.write_atomically(folder / f"step{checkpoint.step}-{_digest(content)}.safetensors", content)
        for path in folder.glob(partial_name(folder / "*").name):  # of a process that was killed while it wrote
            path.unlink()
        # Checkpoints of later steps are unusable: they were skipped when this training started
        paths = _newest_first(folder)
        newest = [path for path in paths if _step(path) <= checkpoint.step][:_KEPT]
        for path in set(paths).difference(newest):
            path.unlink()
    except OSError as error:
        _warn(f"checkpoint at step {checkpoint.step} not written ({error}); the training goes on")


def load_newest(folder: Path, run: dict) -> Checkpoint | None:
    """The newest undamaged checkpoint of `run`, or None; every skipped checkpoint is reported in one line."""
    for path in _newest_first(folder):
        try:
            intact = _NAME.fullmatch(path.name)[2] == _digest(path.read_bytes())
            tensors, metadata = weights.read(path) if intact else ({}, {})
        except (OSError, SafetensorError, ValueError) as error:
            _warn(f"{path}: this checkpoint cannot be read ({error}); it is skipped")
            continue
        if not intact:
            _warn(f"{path}: this checkpoint is damaged (wrong digest); it is skipped")
        elif metadata.get("run") != run:
            _warn(f"{path}: this checkpoint is of another training; it is skipped")
        elif not {"step", "facts"} <= metadata.keys():
            _warn(f"{path}: this checkpoint lacks the step or the state of the training; it is skipped")
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
