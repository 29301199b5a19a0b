"""Progress of long work: a bar on a terminal, a line every half minute in a log."""

import shutil
import sys
import time
from typing import Self, TextIO

_REDRAW_S = 0.1  # on a terminal
_LOG_LINE_S = 30.0  # in a log


class Progress:
    """Shows how far a loop of known length has come, on standard error.

    ::

        with Progress(len(shards), "shards") as progress:
            for shard in shards:
                ...
                progress.advance()

    Args:
        total: number of steps of the whole work.
        label: what the work is, a word or two.
        done: steps done already, by an earlier run that this one continues.
        silent: show nothing (every process but the first of several).
        stream: where to write; standard error unless given.
    """

    def __init__(
        self, total: int, label: str, *, done: int = 0, silent: bool = False, stream: TextIO | None = None
    ) -> None:
        self.total = total
        self.done = done
        self._label = label
        self._first = done
        self._note = ""
        self._silent = silent
        self._stream = stream or sys.stderr
        self._on_terminal = self._stream.isatty()
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
            self._stream.write("\n")  # what is written next must not land behind the bar
            self._stream.flush()

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
        if self._on_terminal:
            filled = int(20 * min(fraction, 1.0))
            line = f"{self._label} [{'#' * filled}{'.' * (20 - filled)}] {text}"
            columns = shutil.get_terminal_size().columns - 1  # a wrapped line could not be drawn over
            self._stream.write(f"\r\x1b[K{line[:columns]}")
        else:
            self._stream.write(f"{self._label}: {text}\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
