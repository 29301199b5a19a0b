"""Files that are whole or absent: hashing, temporary names that are moved into place, checked arrays."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from workflow_scripts.workflow.errors import InputError


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def partial_name(path: Path) -> Path:
    """Where a file is written before it is whole: hidden, in the same folder, so that the move is atomic."""
    return path.with_name(f".partial-{path.name}")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys under a temporary name, then move it into place."""
    partial = partial_name(path)
    partial.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is not JSON or cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a JSON file ({error}); delete it and run again") from None


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as an uncompressed .npz at exactly `path`; the same arrays give the same bytes."""
    with path.open("wb") as file:
        np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read the named arrays of an .npz file; nothing is unpickled.

    Raises:
        InputError: the file is truncated, is no .npz, lacks a name, or holds objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                raise InputError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(archive.files)}")
            return {name: archive[name] for name in names}
    except (BadZipFile, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path} is not a whole .npz file ({error}); make it again") from None


def read_all_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an .npz file; nothing is unpickled. Raises InputError as `read_arrays` does."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
    except (BadZipFile, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a whole .npz file ({error}); make it again") from None
    return read_arrays(path, names)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV under these columns; floats keep every digit."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sync(path: Path) -> None:
    """Force a file's bytes to the disk before it gets its final name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
