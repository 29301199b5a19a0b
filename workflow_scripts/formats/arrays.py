"""The user's arrays, .npy or a dataset of an .h5 file, read in parts; every error is reported in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from workflow_scripts.workflow.arrays import ArrayError, check_size, open_npy, reason
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import shortened

LARGEST = 1e15  # largest value accepted: its square and sums of values are still finite in 32 bits


@contextmanager
def opened(path: Path, dataset: str | None, what: str) -> Iterator[Any]:
    """An array of numbers that is read when it is sliced: a memory-mapped .npy, or a dataset of an .h5 file.

    Args:
        path: the file.
        dataset: where the array lies inside an .h5 file; None for .npy.
        what: what the array is, for error messages.

    Raises:
        InputError: the file is absent, truncated or of another format, has no such dataset, or holds no real numbers.
    """
    if not path.is_file():
        raise InputError(f"{what}: there is no file {path}; correct the path")
    if dataset is None:
        try:
            array = open_npy(path)
        except ArrayError as error:
            raise InputError(f"{what}: {path} is not a whole .npy file ({error}); save it with numpy.save") from None
        yield _real(array, f"{what}: {path}")
        return
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise _damaged(path, what, error) from None
    with file:
        yield _dataset(file, path, dataset, what)


def values(array: Any, where: str, rows: Any = ...) -> np.ndarray:
    """The values of an opened array, or of some of its rows, float64.

    Raises:
        InputError: they cannot be read, since the file is damaged.
    """
    try:
        return np.asarray(array[rows], dtype=np.float64)
    except Exception as error:  # filters of .h5 raise errors of many types
        raise InputError(f"{where} cannot be read ({reason(error)}); copy or export it again") from None


def _damaged(path: Path, what: str, error: Exception) -> InputError:
    return InputError(f"{what}: {path} is not a whole .h5 file ({reason(error)}); copy or export it again")


def _dataset(file: h5py.File, path: Path, name: str, what: str) -> h5py.Dataset:
    try:
        item, names = file.get(name), []
        if not isinstance(item, h5py.Dataset):
            names = _dataset_names(file)
        # Values of a virtual or external dataset lie in other files; one without a shape has none.
        elif item.size and not (item.is_virtual or item.external):
            check_size(item.size * item.dtype.itemsize, item.id.get_storage_size())
    except ArrayError as error:
        raise InputError(
            f"{what}: {path}:{name} was not written to its end, or is damaged: it {error}; copy or export it again"
        ) from None
    except Exception as error:  # a damaged file fails in many ways
        raise _damaged(path, what, error) from None
    if not isinstance(item, h5py.Dataset):
        raise InputError(f"{what}: {path} has no dataset {name!r}; it holds {shortened(names)}")
    return _real(item, f"{what}: {path}:{name}")


def _real(array: Any, where: str) -> Any:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where} holds values of the type {array.dtype}, expected real numbers")
    if not array.size:  # an .h5 may hold a dataset without a shape
        raise InputError(f"{where} is empty (shape {array.shape})")
    return array


def _dataset_names(file: h5py.File) -> list[str]:
    names: list[str | bytes] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    # Names that are not UTF-8 are returned as bytes.
    return [name.decode(errors="replace") if isinstance(name, bytes) else name for name in names]
