"""What ends a stage from outside, as one sentence: a full disk, too little memory, a signal."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def leave_on_signals() -> None:
    """Let SIGTERM, SIGINT and SIGHUP end the process as an exception does, so that what is unfinished is removed."""
    for number in _ENDING:
        # nohup, and a shell that starts something in the background, have asked for them to be ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda found, frame: sys.exit(128 + found))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put these signals off until the block ends: it must be short."""
    received: list[int] = []
    # Not a mask: it holds for one thread, and torch has others, to which the signal would go.
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda found, frame: received.append(found))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in received[:1]:
        os.kill(os.getpid(), number)


def of_the_system(error: OSError, folder: Path) -> str:
    """One sentence for what the system refused; the system's own names a file only where it was opened.

    Args:
        folder: where the stage was writing.
    """
    sentence = f"{error.strerror or error}: {error.filename or folder}"
    # numpy says of a full disk only how many bytes were written.
    if error.errno in _FULL or "requested and" in str(error):
        sentence += "; make room and run again: what was finished is kept, and nothing half-written was left"
    return sentence


def of_memory(error: BaseException) -> str | None:
    """One sentence where an allocation failed, in Python, numpy or torch, on the CPU or a GPU; else None."""
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    if not (isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_torchs)):
        return None
    what = str(error).splitlines()[0] if str(error) else "no more could be had"
    return f"out of memory ({what}); lower batch_size or the size of the data, or give the job more memory"


def print_error(sentence: str) -> None:
    """Say it on stderr, which is the job's log, or on stdout where the disk of the log is full."""
    for stream in (sys.stderr, sys.stdout):
        try:
            print(f"error: {sentence}", file=stream, flush=True)
        except OSError:
            continue
        return


def hidden_errors(log: Path, in_sight: int = 15) -> list[str]:
    """Sentences of jobs that failed, once each, from Snakemake's log, unless they stand in its last lines.

    Other jobs go on after one has failed, and print what they do; the user looks at the end.
    """
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    said = dict.fromkeys(line for line in lines if line.startswith("error: "))
    return [sentence for sentence in said if sentence not in lines[-in_sight:]]
