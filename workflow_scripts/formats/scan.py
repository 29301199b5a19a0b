"""Diffraction patterns of the user's 4D-STEM scan, read in parts and checked, and their bright-field disc."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.formats.arrays import LARGEST, opened, values
from workflow_scripts.formats.endings import is_array
from workflow_scripts.formats.images import ImageStack
from workflow_scripts.workflow.errors import InputError

_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Disc:
    """The bright-field disc on the recorded detector: centre [y, x] and radius in pixels."""

    center_px: tuple[float, float]
    radius_px: float


@dataclass(frozen=True)
class Scan:
    """An open scan.

    Attributes:
        patterns: an array (N, H, W) or (Ry, Rx, H, W) that is read on slicing.
        raster: rows and columns of the scan; None if unknown.
        where: name of the scan in error messages.
    """

    patterns: Any
    raster: tuple[int, int] | None
    where: str

    def __len__(self) -> int:
        return int(np.prod(self.patterns.shape[:-2]))

    @property
    def pattern_shape(self) -> tuple[int, int]:
        """Pixels of a pattern along y and x."""
        return tuple(self.patterns.shape[-2:])

    def chunks(self) -> Iterator[np.ndarray]:
        """The patterns in order, in chunks float64 (n, H, W).

        Raises:
            InputError: the file is damaged.
        """
        row_bytes = max(1, 8 * int(np.prod(self.patterns.shape[1:])))
        step = max(1, _CHUNK_BYTES // row_bytes)
        for start in range(0, self.patterns.shape[0], step):
            rows = values(self.patterns, f"{self.where}: a row from {start} on", slice(start, start + step))
            yield rows.reshape(-1, *self.pattern_shape)

    def select(self, numbers: Sequence[int]) -> np.ndarray:
        """The patterns with these numbers, counted as in `chunks`, float64 (n, H, W); raises the same errors."""
        in_a_row = int(np.prod(self.patterns.shape[1:-2]))
        patterns = []
        for number in numbers:
            row, column = divmod(int(number), in_a_row)
            part = values(self.patterns, f"{self.where}: row {row}", slice(row, row + 1))
            patterns.append(part.reshape(-1, *self.pattern_shape)[column])
        return np.stack(patterns)

    def mean_pattern(self) -> np.ndarray:
        """The mean (H, W) of all patterns.

        Raises:
            InputError: a pattern holds a value that cannot be a count, or all counts are 0.
        """
        total, count = np.zeros(self.pattern_shape), 0
        for part in self.chunks():
            _check_counts(part, count, self.where)
            total += part.sum(axis=0)
            count += len(part)
        if not total.any():
            raise InputError(f"{self.where}: all counts are 0")
        return total / count


@contextmanager
def open_scan(paths: Sequence[Path], dataset: str | None, raster: tuple[int, int] | None = None) -> Iterator[Scan]:
    """The patterns of a scan.

    Args:
        paths: one .npy or HDF5 file of (N, H, W) or (Ry, Rx, H, W), or files of one image each.
        dataset: where the array lies inside an HDF5 file.
        raster: rows and columns set by the user for (N, H, W).

    Raises:
        InputError: a file is damaged or holds no patterns, or their number is not that of the raster.
    """
    if is_array(paths[0]):
        where = f"patterns: {paths[0]}" + (f":{dataset}" if dataset else "")
        with opened(paths[0], dataset, "patterns") as array:
            yield Scan(array, _raster(array.shape, raster, where), where)
    else:
        stack = ImageStack(paths)
        where = f"patterns: {paths[0] if len(paths) == 1 else paths[0].parent}"
        yield Scan(stack, _raster(stack.shape, raster, where), where)


def _raster(shape: tuple[int, ...], stated: tuple[int, int] | None, where: str) -> tuple[int, int] | None:
    """Rows and columns of the scan: of an array (Ry, Rx, H, W), or as stated; None for (N, H, W) if not stated."""
    if len(shape) not in (3, 4):
        raise InputError(f"{where} has the shape {shape}, expected (N, H, W) or (Ry, Rx, H, W)")
    if stated is not None and np.prod(stated) != np.prod(shape[:-2]):
        raise InputError(
            f"{where} holds {np.prod(shape[:-2])} patterns, but scan_shape {list(stated)} wants"
            f" {np.prod(stated)}; correct scan_shape"
        )
    return tuple(shape[:2]) if len(shape) == 4 else stated


def _check_counts(patterns: np.ndarray, first: int, where: str) -> None:
    remedy = "expected counts ≥ 0, so subtract no background, or set what lies below 0 to 0"
    for wrong, fault in (
        (~np.isfinite(patterns), "values that are not finite; repair it"),
        (patterns < 0, f"the negative count {{:g}}; {remedy}"),
        (patterns > LARGEST, f"the count {{:.3g}}, expected counts of at most {LARGEST:g}; repair it"),
    ):
        if wrong.any():
            index = int(wrong.any(axis=(1, 2)).argmax())
            value = patterns[index][wrong[index]][0]
            raise InputError(f"{where}: pattern {first + index} holds {fault.format(value)}")


def find_disc(
    mean: np.ndarray, keys: str, center_px: tuple[float, float] | None = None, radius_px: float | None = None
) -> Disc:
    """The bright-field disc of a mean pattern (H, W): the pixels above half of their mean, found iteratively.

    Args:
        mean: the mean pattern.
        keys: settings that replace the search, for error messages.
        center_px: [y, x]; None searches it.
        radius_px: None searches it.

    Raises:
        InputError: there is no bright disc.
    """
    if center_px is not None and radius_px is not None:
        return Disc(tuple(center_px), radius_px)
    level = mean.max() / 2
    for _ in range(50):
        level = mean[mean >= level].mean() / 2
    inside = mean >= level
    if inside.sum() < 4 or inside.mean() > 0.9:
        raise InputError(f"patterns: the mean pattern shows no bright-field disc; give {keys}")
    row, column = (float(axis.mean()) for axis in np.nonzero(inside))
    return Disc(tuple(center_px or (row, column)), radius_px or float(np.sqrt(inside.sum() / np.pi)))
