"""The files of the stage synthesize.

Training files (`read_pairs`), one row for each pair:

| array | type, shape | meaning |
|---|---|---|
| calculated | float32 (P, H, W) | kinematic pattern, share of the spots' intensity inside the detector |
| spots, background | float32 (P, H, W) | expected shares of an observed pattern of that orientation |
| rotation | float64 (P, 3, 3) | orientation, see orientations.py |

Test file (`read_queries`):

| array | type, shape | meaning |
|---|---|---|
| gallery | float32 (G, H, W) | calculated patterns of the gallery's beam directions, in-plane angle 0 |
| gallery_rotation | float64 (G, 3, 3) | their orientations |
| counts | float32 (Q, H, W) | queries, detected electrons |
| rotation, second_rotation | float64 (Q, 3, 3) | orientation; that of the second crystal, or zeros |
| kind | str (Q,) | plain, two_crystals, dynamical, not_crystal, or map (a square scan, row by row) |
| region | str (Q,) | unseen (a tested cell of beam directions) or seen |
| dose_e | float64 (Q,) | expected electrons in the spots |
| symmetry | float64 (S, 3, 3) | proper rotations of the crystal's Laue group |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays
from workflow_scripts.workflow.rows import Rows, is_finite

PLAIN, TWO_CRYSTALS, DYNAMICAL, NOT_CRYSTAL, MAP = KINDS = ("plain", "two_crystals", "dynamical", "not_crystal", "map")
UNSEEN, SEEN = "unseen", "seen"


@dataclass(frozen=True)
class Pairs:
    """Pairs of patterns; shapes and units as in the file. Together they may be larger than the memory."""

    calculated: Rows
    spots: Rows
    background: Rows
    rotation: np.ndarray

    def __len__(self) -> int:
        return len(self.calculated)


@dataclass(frozen=True)
class Queries:
    """Gallery and queries; shapes and units as in the file."""

    gallery: np.ndarray
    gallery_rotation: np.ndarray
    counts: np.ndarray
    rotation: np.ndarray
    second_rotation: np.ndarray
    kind: np.ndarray
    region: np.ndarray
    dose_e: np.ndarray
    symmetry: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)


def read_pairs(paths: Sequence[Path]) -> Pairs:
    """The pairs of all training files in their order.

    Raises:
        InputError: a file is broken, holds what is not a finite number, or has patterns of another size than the first.
    """
    parts = [_read(path, _PAIRS, _PATTERNS) for path in paths]
    for path, arrays in zip(paths, parts, strict=True):
        if arrays["calculated"].shape[1:] != parts[0]["calculated"].shape[1:]:
            raise InputError(f"{path}: its patterns have another size than in {paths[0]}; synthesize again")
    patterns = {name: Rows([arrays[name] for arrays in parts]) for name in _PATTERNS}
    return Pairs(**patterns, rotation=np.concatenate([arrays["rotation"] for arrays in parts]))


def read_queries(path: Path) -> Queries:
    """The test file.

    Raises:
        InputError: it is broken, or holds what is not a finite number.
    """
    return Queries(**_read(path, _QUERIES))


def _read(path: Path, expected: dict[str, tuple[int, str]], in_file: tuple[str, ...] = ()) -> dict[str, Any]:
    arrays = read_arrays(path, expected, in_file)
    for name, (axes, types) in expected.items():
        array = arrays[name]
        if array.ndim != axes or 0 in array.shape or array.dtype.kind not in types:
            raise InputError(
                f"{path}: {name} is {array.dtype} of the shape {array.shape}, expected {axes} axes; synthesize again"
            )
        if not is_finite(array):
            raise InputError(f"{path}: {name} holds what is not a finite number; synthesize again")
    return arrays


_PATTERNS = ("calculated", "spots", "background")
_PAIRS = dict.fromkeys((*_PATTERNS, "rotation"), (3, "f"))
_QUERIES = {
    **dict.fromkeys(("gallery", "gallery_rotation", "counts", "rotation", "second_rotation", "symmetry"), (3, "f")),
    **dict.fromkeys(("kind", "region"), (1, "U")),
    "dose_e": (1, "f"),
}
