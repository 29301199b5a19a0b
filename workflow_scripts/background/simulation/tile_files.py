"""The files of the stage synthesize.

Training files (`read_training_tiles`):

| array | type, shape | meaning |
|---|---|---|
| log_transmission | float32 (S, P, P) | specimens, larger than a tile: ln T ≤ 0 but for Fresnel edges |
| log_flat | float32 (K, J, H, W) | ln of the flat fields of K sessions at J times; the first has mean 0 |
| held_out | bool (K,) | marks earlier sessions of the test microscopes, used only for finetuning |
| dose | float64 (2,) | smallest and largest dose of a pixel without a specimen, photons |
| dark | float64 () | mean of the dark frame, counts |

Test file (`read_tiles`), with K test sessions:

| array | type, shape | meaning |
|---|---|---|
| counts | float32 (K, M, H, W) | raw tiles, in the order in which they were taken |
| log_transmission, log_flat | float32 (K, M, H, W) | ground truth of these tiles |
| open_beam | int64 (K, M, 4) | a region without a specimen [top, left, bottom, right], px; zeros if there is none |
| references | float32 (K, R, H, W) | images without a specimen from the same session, counts |
| earlier_references | float32 (K, R, H, W) | the same from an earlier session of the microscope, counts |
| dose | float64 (K,) | of a pixel without a specimen, photons |
| dark | float64 () | mean of the dark frame, counts |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays


@dataclass(frozen=True)
class TrainingTiles:
    """Specimens and sessions from which training tiles are composed; shapes and units as in the file."""

    log_transmission: np.ndarray
    log_flat: np.ndarray
    held_out: np.ndarray
    dose: tuple[float, float]
    dark: float


@dataclass(frozen=True)
class RawTiles:
    """The test tiles; shapes and units as in the file."""

    counts: np.ndarray
    log_transmission: np.ndarray
    log_flat: np.ndarray
    open_beam: np.ndarray
    references: np.ndarray
    earlier_references: np.ndarray
    dose: np.ndarray
    dark: float


def read_training_tiles(paths: Sequence[Path]) -> TrainingTiles:
    """The specimens and sessions of all training files in their order.

    Raises:
        InputError: a file is damaged, holds a value that is not finite, or does not match the first file.
    """
    parts = [_read(path, _TRAIN) for path in paths]
    for path, arrays in zip(paths, parts, strict=True):
        for name in ("log_transmission", "log_flat"):
            if arrays[name].shape[1:] != parts[0][name].shape[1:]:
                raise InputError(f"{path}: {name} has a different size from that in {paths[0]}; synthesize again")
        if not np.array_equal(arrays["dose"], parts[0]["dose"]) or arrays["dark"] != parts[0]["dark"]:
            raise InputError(f"{path}: dose or dark differ from those in {paths[0]}; synthesize again")
    # Each array is released once it is joined, so that the data are not in memory twice.
    joined = {
        name: np.concatenate([arrays.pop(name) for arrays in parts])
        for name in ("log_transmission", "log_flat", "held_out")
    }
    return TrainingTiles(**joined, dose=tuple(parts[0]["dose"].tolist()), dark=float(parts[0]["dark"]))


def read_tiles(path: Path) -> RawTiles:
    """The test file.

    Raises:
        InputError: it is damaged, or holds a value that is not finite.
    """
    arrays = _read(path, _TEST)
    return RawTiles(**arrays | {"dark": float(arrays["dark"])})


def _read(path: Path, expected: Mapping[str, tuple[int, str]]) -> dict[str, np.ndarray]:
    """The arrays of a file, checked; expected: number of axes and kind of data type, by name."""
    arrays = read_arrays(path, tuple(expected))
    for name, array in arrays.items():
        axes, kind = expected[name]
        if array.ndim != axes or array.size == 0 or array.dtype.kind != kind:
            raise InputError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected {axes} axes and a data type of kind {kind};"
                " synthesize again"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds a value that is not a finite number; synthesize again")
    return arrays


_TRAIN = {"log_transmission": (3, "f"), "log_flat": (4, "f"), "held_out": (1, "b"), "dose": (1, "f"), "dark": (0, "f")}
_TEST = {
    **dict.fromkeys(("counts", "log_transmission", "log_flat", "references", "earlier_references"), (4, "f")),
    "open_beam": (3, "i"),
    "dose": (1, "f"),
    "dark": (0, "f"),
}
