"""Image files in a folder that a setting names, in the natural order of their names."""

import re
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.formats.endings import has_ending
from workflow_scripts.workflow.errors import InputError


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key to sort names by: numbers inside them count as numbers, 2 before 10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(0, int(part), "") if number % 2 else (1, 0, part) for number, part in enumerate(parts)], name


def image_files(path: Path | str, kinds: Sequence[str], what: str) -> list[Path]:
    """The images of a folder, in the natural order of their names, or the one file.

    Args:
        path: a folder of images, or one of them.
        kinds: the endings of their names, as in `endings`.
        what: the setting that names it, for the sentence.

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
