"""Files that are complete or absent: hashing, temporary names that are renamed, checked arrays."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.workflow.arrays import Archive, ArrayError, reason
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.rows import StoredRows


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def partial_name(path: Path) -> Path:
    """Temporary name of a file while it is written: hidden, in the same folder, so that renaming is atomic."""
    return path.with_name(f".partial-{path.name}")


def json_text(value: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Context with a temporary name to write to; it becomes `path` after the block, or is removed on an exception."""
    partial = partial_name(path)
    try:
        yield partial
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; the file appears when it is complete."""
    with whole(path) as partial:
        partial.write_text(json_text(value), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is not JSON or cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    # ValueError: no JSON, no UTF-8, a number of thousands of digits; RecursionError: nested too deep.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a JSON file ({reason(error)}); delete it and run again") from None


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as an uncompressed .npz at exactly `path`; the same arrays give the same bytes."""
    with path.open("wb") as file:
        np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})


def read_arrays(path: Path, names: Iterable[str], in_file: Sequence[str] = ()) -> dict[str, np.ndarray | StoredRows]:
    """Read the named arrays of an .npz file; nothing is unpickled.

    Args:
        in_file: names of arrays that are checked now, but whose rows are read on demand.

    Raises:
        InputError: the file is truncated, not an .npz, lacks a name, or holds Python objects.
    """
    names = list(names)
    with _archive(path) as archive:
        missing = [name for name in names if name not in archive.names]
        if missing:
            raise InputError(f"{path} lacks {', '.join(missing)}; it holds {shortened(archive.names)}")
        return {name: archive.rows(name) if name in in_file else archive.read(name) for name in names}


def array_names(path: Path) -> list[str]:
    """Names of the arrays in an .npz file.

    Raises:
        InputError: it is not a complete .npz.
    """
    with _archive(path) as archive:
        return archive.names


@contextmanager
def _archive(path: Path) -> Iterator[Archive]:
    try:
        with closing(Archive(path)) as archive:
            yield archive
    except ArrayError as error:
        raise InputError(f"{path} is not a whole .npz file ({error}); make it again") from None


def shortened(names: Sequence[str]) -> str:
    """The first names as one text, for an error message."""
    first = [name[:60] if name.isprintable() else ascii(name[:60]) for name in names[:20]]
    return ", ".join(first) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"


def read_all_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an .npz file; nothing is unpickled. Raises InputError as `read_arrays` does."""
    return read_arrays(path, array_names(path))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV under these columns; floats keep every digit."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sync(path: Path) -> None:
    """Flush a file to the disk (before it is renamed), or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
