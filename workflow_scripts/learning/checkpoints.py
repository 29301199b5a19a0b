"""Checkpoints of a training: one safetensors file each, named by its step and its own digest.

No file is ever unpickled. Whatever is wrong with a checkpoint costs one line and an older start, not the run.
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from workflow_scripts.learning import weights

_KEPT = 2  # the newest may be damaged
_NAME = re.compile(r"step(\d+)-([0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `step` steps.

    `run` tells one training from another (settings, seed, shapes of the network): a checkpoint of another
    run is not used. `tensors` are on the CPU, flat; `facts` hold what is no tensor, as JSON can: its floats
    return bit-equal.
    """

    step: int
    run: dict
    tensors: dict[str, torch.Tensor]
    facts: dict


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into `folder` and remove all but the last two.

    A disk that is full or read-only is reported and the training goes on: what is lost is only the resume.
    """
    metadata = {"step": checkpoint.step, "run": checkpoint.run, "facts": checkpoint.facts}
    content = weights.to_bytes(checkpoint.tensors, metadata)
    try:
        weights.write_atomically(folder / f"step{checkpoint.step}-{_digest(content)}.safetensors", content)
        for path in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            path.unlink()
        # Those of later steps were passed over when this training started
        paths = _newest_first(folder)
        kept = [path for path in paths if _step(path) <= checkpoint.step][:_KEPT]
        for path in set(paths).difference(kept):
            path.unlink()
    except OSError as error:
        _say(f"checkpoint at step {checkpoint.step} not written ({error}); the training goes on")


def load_newest(folder: Path, run: dict) -> Checkpoint | None:
    """The newest checkpoint of `run` that is whole, or None; each one passed over is reported in a line."""
    for path in _newest_first(folder):
        try:
            whole = _NAME.fullmatch(path.name)[2] == _digest(path.read_bytes())
            tensors, metadata = weights.read(path) if whole else ({}, {})
        except (OSError, SafetensorError, ValueError) as error:
            _say(f"{path}: this checkpoint cannot be read ({error}), passed over")
            continue
        if not whole:
            _say(f"{path}: this checkpoint is damaged (its digest is another), passed over")
        elif metadata.get("run") != run:
            _say(f"{path}: this checkpoint is of another training, passed over")
        elif not {"step", "facts"} <= metadata.keys():
            _say(f"{path}: this checkpoint does not say where the training was, passed over")
        else:
            return Checkpoint(metadata["step"], run, tensors, metadata["facts"])
    return None


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(filter(_is_checkpoint, folder.iterdir()), key=_step, reverse=True)


def _is_checkpoint(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None


def _step(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
