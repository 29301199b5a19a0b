"""What a job is given from outside the results: a digest of its content, whatever the dates of the files say.

Snakemake reruns what is older than its inputs. A changed file with an older date, as archives and `cp -p` make
them, would go unseen, and one dated in the future would make every job that reads it fail when it has finished.
"""

import datetime
import hashlib
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from workflow_scripts.workflow.errors import InputError

_WHOLE_BYTES = 64 * 2**20
_SAMPLES, _SAMPLE_BYTES = 64, 2**20
_SKEW_S = 60.0  # between this clock and that of a file server


@cache
def digest(paths: tuple[str, ...]) -> str:
    """A digest of what the files hold: all of a file up to 64 MiB, else samples. One that is not there is left out."""
    return hashlib.sha256("".join(_of_file(path) for path in paths if Path(path).is_file()).encode()).hexdigest()[:16]


@cache
def _of_file(path: str) -> str:
    found = hashlib.sha256()
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        for offset in _offsets(size):
            file.seek(offset)
            found.update(file.read(_SAMPLE_BYTES))
    return f"{path} {size} {found.hexdigest()}\n"


def check_dates(paths: Iterable[str]) -> None:
    """Refuse files that look newer than anything made from them.

    Raises:
        InputError: a file is dated in the future.
    """
    for path in paths:
        date = Path(path).stat().st_mtime if Path(path).is_file() else 0.0
        if date > time.time() + _SKEW_S:
            said = datetime.datetime.fromtimestamp(date).isoformat(" ", "seconds")
            raise InputError(
                f"{path} is dated {said}, which is still to come, so that all made from it would look out of date; "
                f"set the clock right, or the date: touch {path}"
            )


def _offsets(size: int) -> Iterable[int]:
    if size <= _WHOLE_BYTES:
        return range(0, size, _SAMPLE_BYTES)
    step = (size - _SAMPLE_BYTES) / (_SAMPLES - 1)
    return (round(k * step) for k in range(_SAMPLES))
