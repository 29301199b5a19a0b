"""Progress on a terminal and in a log."""

import io
import sys

import pytest

from workflow_scripts.workflow import progress
from workflow_scripts.workflow.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_half_minute_and_a_last_one(clock: list[float], capsys: pytest.CaptureFixture) -> None:
    with Progress(100, "shards") as shown:
        for _ in range(100):
            clock[0] += 1
            shown.advance(note="loss 0.5" if shown.done == 50 else None)
    assert capsys.readouterr().err.splitlines() == [
        "shards: 30/100 (30%), 0:00:30, 0:01:10 left",
        "shards: 60/100 (60%), 0:01:00, 0:00:40 left, loss 0.5",
        "shards: 90/100 (90%), 0:01:30, 0:00:10 left, loss 0.5",
        "shards: 100/100 (100%), 0:01:40, loss 0.5",
    ]


def test_a_continued_work_estimates_from_its_own_steps(clock: list[float], capsys: pytest.CaptureFixture) -> None:
    with Progress(10_000, "steps", done=9_000) as shown:
        clock[0] += 3600
        shown.advance(100)
    assert capsys.readouterr().err.splitlines()[0] == "steps: 9100/10000 (91%), 1:00:00, 9:00:00 left"


def test_a_terminal_gets_one_bar_that_fits(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(4, "shards") as shown:
        for _ in range(4):
            clock[0] += 1
            shown.advance(note="a note that is much too long for this terminal")
    frames = terminal.getvalue().split("\r\x1b[K")[1:]
    assert frames[0].startswith("shards [#####...............] 1/4 (25%)")
    assert frames[-1].startswith("shards [####################] 4/4 (100%)")
    assert all(len(frame.rstrip("\n")) <= 59 for frame in frames)
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("\n")


def test_silence_and_nothing_to_do(clock: list[float], capsys: pytest.CaptureFixture) -> None:
    with Progress(3, "shards", silent=True) as shown:
        clock[0] += 60
        shown.advance(3)
    assert capsys.readouterr().err == ""
    with Progress(0, "shards"):
        pass
    assert capsys.readouterr().err == "shards: 0/0 (100%), 0:00:00\n"
