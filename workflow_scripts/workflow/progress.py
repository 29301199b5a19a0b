"""Progress of long jobs: a bar on a terminal, a line every half minute in a log."""

import datetime
import shutil
import sys
import time
from typing import Self

_REDRAW_S = 0.1  # on a terminal
_LOG_LINE_S = 30.0  # in a log


class Progress:
    """Shows the progress of a loop of known length on standard error.

    ::

        with Progress(len(shards), "shards") as progress:
            for shard in shards:
                ...
                progress.advance()

    Args:
        total: number of steps.
        label: a word or two before the counts.
        done: steps done before a training was resumed.
        silent: show nothing, as in all processes of a training but the first.
    """

    def __init__(self, total: int, label: str, *, done: int = 0, silent: bool = False) -> None:
        self.total, self.done = total, done
        self._label, self._note = label, ""
        self._first = done
        self._silent = silent
        self._on_terminal = sys.stderr.isatty()
        self._pause_s = _REDRAW_S if self._on_terminal else _LOG_LINE_S

    def __enter__(self) -> Self:
        self._started = self._shown = time.monotonic()
        return self

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Count `steps` as done; `note` is shown behind the counts until another replaces it."""
        self.done += steps
        self._note = self._note if note is None else note
        now = time.monotonic()
        if now - self._shown >= self._pause_s:
            self._show(now)

    def __exit__(self, *failure: object) -> None:
        self._show(time.monotonic())
        if self._on_terminal and not self._silent:
            print(file=sys.stderr, flush=True)  # the next output must not continue the line of the bar

    def _show(self, now: float) -> None:
        self._shown = now
        if self._silent:
            return
        elapsed_s = now - self._started
        fraction = self.done / self.total if self.total else 1.0
        text = f"{self.done}/{self.total} ({fraction:.0%}), {_duration(elapsed_s)}"
        if self._first < self.done < self.total:
            left_s = elapsed_s * (self.total - self.done) / (self.done - self._first)
            text += f", {_duration(left_s)} left"
        if self._note:
            text += f", {self._note}"
        if not self._on_terminal:
            print(f"{self._label}: {text}", file=sys.stderr, flush=True)
            return
        filled = int(20 * min(fraction, 1.0))
        line = f"{self._label} [{'#' * filled}{'.' * (20 - filled)}] {text}"
        columns = shutil.get_terminal_size().columns - 1  # a wrapped line could not be overwritten
        print(f"\r\x1b[K{line[:columns]}", end="", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
