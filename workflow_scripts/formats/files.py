"""Files named in settings: the images of a folder in natural order, the bytes of a small file."""

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.formats.endings import PACKED, has_ending
from workflow_scripts.workflow.errors import InputError


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Key that sorts names in natural order: numbers in them are compared as numbers, 2 before 10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(0, int(part), "") if number % 2 else (1, 0, part) for number, part in enumerate(parts)], name


def image_files(path: Path | str, kinds: Sequence[str], what: str) -> list[Path]:
    """The images of a folder in the natural order of their names, or a single file.

    Args:
        path: a folder of images, or one image.
        kinds: accepted endings, as in `endings`.
        what: the setting that names it, for error messages.

    Raises:
        InputError: there is no such image.
    """
    path, named = Path(path), f"{', '.join(kinds[:-1])} or {kinds[-1]}"
    if path.is_file():
        if not has_ending(path, kinds):
            raise InputError(f"{what}: {path} is no {named}; convert it, or give a folder")
        return [path]
    if not path.is_dir():
        raise InputError(f"{what}: there is no folder or file {path}; correct the path")
    images = [file for file in path.glob("[!.]*") if file.is_file() and has_ending(file, kinds)]
    if not images:
        raise InputError(f"{what}: the folder {path} holds no {named}; correct the path")
    return sorted(images, key=lambda file: natural(file.name))


def read_content(path: Path, most_bytes: int, expected: str, whole: bool = True) -> bytes:
    """The bytes of a file, unpacked where its name ends in .gz.

    Args:
        path: the file.
        most_bytes: largest size accepted.
        expected: what the file should contain, for error messages.
        whole: whether larger files are refused; False truncates them instead.

    Raises:
        InputError: the file is absent, empty, too large, or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    try:
        with gzip.open(path) if has_ending(path, PACKED) else path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the file again") from None
    if not content.strip():
        raise InputError(f"{path}: the file is empty; export it again")
    if whole and len(content) > most_bytes:
        raise InputError(f"{path}: found more than {most_bytes >> 20} MiB, expected {expected}; cut it out")
    return content
