"""Arrays in .npy and .npz files: never unpickled, and never larger than the size of the file allows.

A header may announce any number of values, and memory for all of them would be reserved before the first is read.
"""

import math
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from workflow_scripts.workflow.rows import StoredRows, is_finite

# Deflate expands to at most 1032 times its input; an array smaller than the slack does no harm.
_LARGEST_EXPANSION = 2000
_SLACK_BYTES = 2**20
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LONGEST_REASON = 160
_CHUNK_BYTES = 2**24
# In front of a member of an archive: 26 bytes of other data, then the lengths of its name and of its extra field.
_LOCAL_HEADER = struct.Struct("<26x2H")


class ArrayError(ValueError):
    """The reason why a file cannot be read, as part of a sentence."""


class Archive:
    """An open .npz, whose arrays are read on demand.

    Attributes:
        names: of the arrays in it.
    """

    def __init__(self, path: Path) -> None:
        """Raises ArrayError: the file is not a complete archive, or cannot be read."""
        with _array_errors():
            self._file = zipfile.ZipFile(path)
        self.names = [name.removesuffix(".npy") for name in self._file.namelist() if name.endswith(".npy")]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str) -> np.ndarray:
        """The array of this name.

        Raises:
            ArrayError: it is damaged or absent, holds Python objects, or its header announces more than there is.
        """
        with self._checked(name) as (member, _):
            return self._values(member)

    def rows(self, name: str) -> np.ndarray | StoredRows:
        """The array of this name, with its rows left in the file, or in memory if they are not contiguous there.

        Raises:
            ArrayError: as in `read`.
        """
        with self._checked(name) as (member, header):
            scattered = header.fortran_order or member.compress_type != zipfile.ZIP_STORED
            if scattered or not header.shape or not header.array_bytes:
                return self._values(member)
            finite = True
            with self._file.open(member) as stream:
                stream.read(header.n_bytes)
                while chunk := stream.read(_CHUNK_BYTES // header.dtype.itemsize * header.dtype.itemsize):
                    # Read to the end, where the checksum is compared.
                    finite = finite and is_finite(np.frombuffer(chunk, header.dtype))
            path = Path(self._file.filename)
            with path.open("rb") as file:
                file.seek(member.header_offset)
                before = _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size)))
            return StoredRows(path, member.header_offset + before + header.n_bytes, header.shape, header.dtype, finite)

    @contextmanager
    def _checked(self, name: str) -> Iterator[tuple[zipfile.ZipInfo, "_Header"]]:
        """The archive member and the header of an array; errors within the block become ArrayError too."""
        with _array_errors(f"{name[:80]}: "):
            member = self._file.getinfo(f"{name}.npy")
            check_size(member.file_size, member.compress_size)
            with self._file.open(member) as stream:
                header = _Header.read(stream)
            if header.n_bytes + header.array_bytes != member.file_size:
                has = max(0, member.file_size - header.n_bytes)
                raise ArrayError(f"{name[:80]}: announces {header.array_bytes} bytes, but has {has}")
            yield member, header

    def _values(self, member: zipfile.ZipInfo) -> np.ndarray:
        with self._file.open(member) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            stream.read()  # to the end, where the checksum is compared
        return array


def open_npy(path: Path) -> np.ndarray:
    """A .npy, mapped into memory: values are read on demand.

    Raises:
        ArrayError: it is not a complete .npy, is an archive, holds Python objects, or cannot be read.
    """
    with _array_errors():
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise ArrayError("an archive of arrays, expected one array")
            file.seek(0)
            header = _Header.read(file)
        has = path.stat().st_size - header.n_bytes
        if header.array_bytes > has:
            raise ArrayError(f"announces {header.array_bytes} bytes, but has {has}")
        return np.load(path, mmap_mode="r" if header.array_bytes else None, allow_pickle=False)


@contextmanager
def _array_errors(prefix: str = "") -> Iterator[None]:
    """Turn every error into an ArrayError: damaged files raise errors of many types."""
    try:
        yield
    except ArrayError:
        raise
    except Exception as error:
        raise ArrayError(f"{prefix}{reason(error)}") from None


def check_size(announced_bytes: int, stored_bytes: int) -> None:
    """Raise ArrayError if `stored_bytes` in a file cannot expand to the announced bytes of values."""
    if announced_bytes > _LARGEST_EXPANSION * stored_bytes + _SLACK_BYTES:
        raise ArrayError(f"announces {announced_bytes} bytes of values, which its {stored_bytes} bytes cannot hold")


def reason(error: Exception) -> str:
    """The message of a library's error in one short line."""
    words = " ".join(str(error).split()) if not isinstance(error, MemoryError) else "larger than the memory"
    words = re.sub(r"<[^<>]* object at 0x[0-9a-f]+>", "…", words) or type(error).__name__
    return words if len(words) <= _LONGEST_REASON else f"{words[:_LONGEST_REASON]}…"


@dataclass(frozen=True)
class _Header:
    """The array that the header of a .npy announces, and the length of the header in bytes."""

    n_bytes: int
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def array_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def read(cls, file: BinaryIO) -> "_Header":
        """Read up to the first value; raises ArrayError for arrays that are never read."""
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ArrayError(f"of version {version[0]}.{version[1]} of the format, expected 1.0 or 2.0")
        shape, fortran_order, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ArrayError("holds Python objects, which are never read")
        if min(shape, default=0) < 0:
            raise ArrayError(f"announces the shape {shape}")
        return cls(file.tell(), shape, fortran_order, dtype)
