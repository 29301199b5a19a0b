"""Rows of arrays that are larger than the memory, read from their files on demand.

Files are not memory-mapped: pages that were read would count as memory of the job, and if the file became shorter in
the meantime, the job would be killed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.workflow.errors import InputError


@dataclass(frozen=True)
class StoredRows:
    """An array (N, …) whose values lie in a file, row after row.

    Attributes:
        offset: bytes before the first value.
        finite: whether the array has no NaN and no infinity, as checked when the file was opened.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    finite: bool

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """Rows (B, …) by their numbers (B,) in 0 … N - 1.

        Raises:
            InputError: the file has become shorter.
            OSError: it cannot be read.
        """
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        with self.path.open("rb", buffering=0) as file:
            for row, number in zip(rows.reshape(len(index), -1).view(np.uint8), index.tolist(), strict=True):
                file.seek(self.offset + number * row_bytes)
                if file.readinto(row) != row_bytes:
                    raise InputError(f"{self.path} became shorter while it was read; make it again")
        return rows


class Rows:
    """Arrays concatenated along the first axis, (N, …); their other axes are equal.

    Args:
        parts: arrays, in memory or in files.
    """

    def __init__(self, parts: Sequence[np.ndarray | StoredRows]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.shape = (int(self._ends[-1]), *self._parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """Rows (B, …) by their numbers (B,), or by a mask (N,); raises as `StoredRows` does."""
        if index.dtype == bool:
            index = np.flatnonzero(index)
        rows = np.empty((len(index), *self.shape[1:]), np.result_type(*{part.dtype for part in self._parts}))
        of_part = np.searchsorted(self._ends, index, side="right")
        for number in np.unique(of_part):
            inside = of_part == number
            part = self._parts[number]
            rows[inside] = part[index[inside] - (self._ends[number] - len(part))]
        return rows


def is_finite(array: np.ndarray | StoredRows) -> bool:
    """Whether an array has no NaN and no infinity; an array of integers has none."""
    if isinstance(array, StoredRows):
        return array.finite
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
