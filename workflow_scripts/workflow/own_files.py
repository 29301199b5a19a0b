"""The user's arrays: .npy or a dataset of an .h5 file, read in parts; what is wrong with one is one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from workflow_scripts.workflow.errors import InputError

_CHUNK_BYTES = 64 * 2**20


@contextmanager
def opened(path: Path, dataset: str | None, what: str) -> Iterator[Any]:
    """An array of numbers that is read when it is sliced: a memory-mapped .npy, or a dataset of an .h5 file.

    Args:
        path: the file.
        dataset: where the array lies inside an .h5 file; None for .npy.
        what: what the array is, for the sentence about a mistake.

    Raises:
        InputError: the file is absent, is truncated or no such file, has no such dataset, or holds no real numbers.
    """
    if not path.is_file():
        raise InputError(f"{what}: there is no file {path}; correct the path")
    if dataset is None:
        array = _npy(path, what)
        yield _real(array, f"{what}: {path}")
        return
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{what}: {path} is not a whole .h5 file ({_first(error)}); copy or export it again") from None
    with file:
        found = file.get(dataset)
        if not isinstance(found, h5py.Dataset):
            names = _dataset_names(file)
            raise InputError(
                f"{what}: {path} has no dataset {dataset!r}; it holds {', '.join(names) or 'no dataset at all'}"
            )
        yield _real(found, f"{what}: {path}:{dataset}")


def chunks(array: Any, what: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices along the first axis and the float64 values there, 64 MB at a time.

    Raises:
        InputError: the values cannot be read, since the file is damaged.
    """
    row_bytes = max(1, 8 * int(np.prod(array.shape[1:])))
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, array.shape[0], step):
        part = slice(start, start + step)
        try:
            yield part, np.asarray(array[part], dtype=np.float64)
        except (OSError, ValueError) as error:
            raise InputError(f"{what}: cannot be read from row {start} on ({_first(error)}); copy it again") from None


def _npy(path: Path, what: str) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{what}: {path} is not a whole .npy file ({_first(error)}); save it with numpy.save"
        ) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what}: {path} is an archive of arrays, expected one array; save it with numpy.save")
    return array


def _real(array: Any, where: str) -> Any:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where} holds values of the type {array.dtype}, expected real numbers")
    if array.size == 0:
        raise InputError(f"{where} is empty (shape {array.shape})")
    return array


def _dataset_names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
