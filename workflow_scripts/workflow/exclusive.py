"""One writer at a time: a job that outlived its Snakemake and the one that was started after it do not mix."""

import fcntl
import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 1.0


@contextmanager
def sole_writer(target: Path, folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine writes `target`, then keep others out until the block ends.

    The kernel drops the lock when the process ends, however it ends. Where the file system knows no locks, or
    `folder` cannot be written to, nobody waits.

    Args:
        target: what is written; it names the lock.
        folder: where the lock files lie, the same for all who write `target`.
    """
    path = folder / f"{hashlib.sha256(str(target.absolute()).encode()).hexdigest()[:16]}.lock"
    waiting = False
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError:
            yield
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    print(f"waiting: another process still writes {target}", file=sys.stderr, flush=True)
                waiting = True
            except OSError:
                yield
                return
            else:
                # Whoever held it before removed the file: a lock on what has no name keeps nobody out.
                if path.exists() and path.samefile(f"/dev/fd/{file.fileno()}"):
                    try:
                        yield
                    finally:
                        path.unlink(missing_ok=True)
                    return
                continue
        time.sleep(_POLL_S)
