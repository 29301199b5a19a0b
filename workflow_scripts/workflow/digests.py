"""Digests of files, which rules carry as parameters: Snakemake reruns a job whose parameters have changed.

Snakemake tracks neither imported modules nor a script named in a shell command, and it compares the dates of input
files: it would miss a changed file with an older date, as from an archive or `cp -p`.
"""

import datetime
import hashlib
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from workflow_scripts.workflow.closure import ROOT, closure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import sha256

_SKEW_S = 60.0  # tolerated difference between this clock and that of a file server
_sha256 = cache(sha256)


@cache
def code_digest(*modules: str, data: tuple[str, ...] = ()) -> str:
    """A digest of all project files that these modules run, and of the project's data files that they read.

    Args:
        modules: dotted names.
        data: paths relative to the project's root.

    Raises:
        ModuleNotFoundError: as `closure` does.
    """
    return _digest((name, ROOT / name) for name in (*closure(*modules), *data))


def file_digest(paths: Iterable[str]) -> str:
    """A digest of the contents of the user's files; missing files are left out.

    Raises:
        InputError: a file is dated in the future, so that all results made from it would look outdated to Snakemake.
    """
    present = [Path(path) for path in paths if Path(path).is_file()]
    for path in present:
        date = path.stat().st_mtime
        if date > time.time() + _SKEW_S:
            text = datetime.datetime.fromtimestamp(date).isoformat(" ", "seconds")
            raise InputError(
                f"{path} is dated {text}, in the future, so that all results made from it would look out of date; "
                f"correct the clock, or the date of the file: touch {path}"
            )
    return _digest((str(path), path) for path in present)


def _digest(files: Iterable[tuple[str, Path]]) -> str:
    text = "".join(f"{name} {_sha256(path)}\n" for name, path in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
