"""Failures that are not bugs (full disk, too little memory, signals), each reported in one sentence."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workflow_scripts.workflow.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_VISIBLE_LINES = 15  # lines at the end of Snakemake's output that the user sees


def leave_on_signals() -> None:
    """Let SIGTERM, SIGINT and SIGHUP end the process as an exception does, so that unfinished files are removed."""
    for number in _ENDING:
        # Signals ignored on purpose (nohup, background jobs of a shell) stay ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, frame: sys.exit(128 + received))


@contextmanager
def signals_postponed() -> Iterator[None]:
    """Postpone these signals until the end of the block, which must be short."""
    received: list[int] = []
    # Not a signal mask, which would apply to this thread only; torch has others.
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in received[:1]:
        os.kill(os.getpid(), number)


def explain(error: Exception, folder: Path) -> str | None:
    """One sentence for an InputError, a system error or too little memory; None for other errors, which are bugs.

    Args:
        error: the error.
        folder: where the stage was writing; system errors name a file only if it was being opened.
    """
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        sentence = f"{error.strerror or error}: {error.filename or folder}"
        # numpy reports a full disk only by the number of bytes that were written.
        if error.errno in _FULL or "requested and" in str(error):
            sentence += "; make room and run again: finished files are kept, and none is left half-written"
        return sentence
    # torch reports failed allocations, on the CPU or a GPU, as RuntimeError.
    of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    if isinstance(error, MemoryError) or of_torch:
        reason = str(error).splitlines()[0] if str(error) else "no more is available"
        return f"out of memory ({reason}); lower batch_size or the size of the data, or give the job more memory"
    return None


def print_error(sentence: str) -> None:
    """Print to stderr, which is the job's log, or to stdout where the disk of the log is full."""
    for stream in (sys.stderr, sys.stdout):
        try:
            print(f"error: {sentence}", file=stream, flush=True)
        except OSError:
            continue
        return


def hidden_errors(log: Path) -> list[str]:
    """The errors of failed jobs in Snakemake's log, without repetition and without those in its last lines.

    Other jobs continue after a failure, so its error may be far above the end of the output, where the user looks.
    """
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    errors = dict.fromkeys(line for line in lines if line.startswith("error: "))
    return [sentence for sentence in errors if sentence not in lines[-_VISIBLE_LINES:]]
