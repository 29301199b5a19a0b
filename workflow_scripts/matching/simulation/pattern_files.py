"""The test file of the stage synthesize.

| array | type, shape | meaning |
|---|---|---|
| gallery | float32 (G, H, W) | calculated patterns of the gallery's beam directions, in-plane angle 0 |
| gallery_rotation | float64 (G, 3, 3) | their orientations |
| counts | float32 (Q, H, W) | queries, detected electrons |
| rotation, second_rotation | float64 (Q, 3, 3) | orientation; that of the second crystal, or zeros |
| kind | str (Q,) | plain, two_crystals, dynamical, damaged, not_crystal, or map (a square scan, row by row) |
| region | str (Q,) | unseen (a tested cell of beam directions) or seen |
| session | int64 (Q,) | queries of one session have nearly the same camera |
| dose_e | float64 (Q,) | expected electrons in the spots |
| symmetry | float64 (S, 3, 3) | proper rotations of the crystal's Laue group |
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays
from workflow_scripts.workflow.rows import is_finite

KINDS = ("plain", "two_crystals", "dynamical", "damaged", "not_crystal", "map")
PLAIN, TWO_CRYSTALS, DYNAMICAL, DAMAGED, NOT_CRYSTAL, MAP = KINDS
UNSEEN, SEEN = "unseen", "seen"


@dataclass(frozen=True)
class Queries:
    """Gallery and queries; shapes and units as in the file."""

    gallery: np.ndarray
    gallery_rotation: np.ndarray
    counts: np.ndarray
    rotation: np.ndarray
    second_rotation: np.ndarray
    session: np.ndarray
    kind: np.ndarray
    region: np.ndarray
    dose_e: np.ndarray
    symmetry: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)


def read_queries(path: Path) -> Queries:
    """The test file.

    Raises:
        InputError: it is broken, or holds what is not a finite number.
    """
    return Queries(**read_checked(path, _QUERIES))


def read_checked(path: Path, expected: dict[str, tuple[int, str]]) -> dict[str, np.ndarray]:
    """Arrays of a file by the axes and the kinds of types that they must have.

    Raises:
        InputError: it is broken, or holds an array of another kind, an empty one, or what is not a finite number.
    """
    arrays = read_arrays(path, expected)
    for name, (axes, types) in expected.items():
        array = arrays[name]
        if array.ndim != axes or 0 in array.shape or array.dtype.kind not in types:
            raise InputError(
                f"{path}: {name} is {array.dtype} of the shape {array.shape}, expected {axes} axes; synthesize again"
            )
        if not is_finite(array):
            raise InputError(f"{path}: {name} holds what is not a finite number; synthesize again")
    return arrays


_QUERIES = {
    **dict.fromkeys(("gallery", "gallery_rotation", "counts", "rotation", "second_rotation", "symmetry"), (3, "f")),
    **dict.fromkeys(("kind", "region"), (1, "U")),
    **{"dose_e": (1, "f"), "session": (1, "i")},
}
