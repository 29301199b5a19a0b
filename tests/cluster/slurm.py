"""What the tests ask a running Slurm, and Snakemake started on it as a user would."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.workflow.running import ENVIRONMENT, copy_project
from workflow_scripts.workflow.closure import ROOT

Answer = TypeVar("Answer")

# By job: its state and the rule it runs, e.g. {"3": ("RUNNING", "alignment_synthesize_wildcards_train_0")}.
Jobs = dict[str, tuple[str, str]]

_ON_SLURM = {name: value for name, value in ENVIRONMENT.items() if name != "SLURM_CONF"}
# Answers of the controller come at once here; a user leaves the profile's 20 s.
_QUICK = ("--slurm-init-seconds-before-status-checks", "3")


def slurm(*words: str) -> str:
    """The answer of a Slurm command."""
    done = subprocess.run(words, env=_ON_SLURM, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def jobs() -> Jobs:
    """All jobs that the controller remembers, those that ended too."""
    lines = slurm("squeue", "--noheader", "--states=all", "--format=%i|%T|%k").splitlines()
    return {number: (state, rule.removeprefix("rule_")) for number, state, rule in (line.split("|") for line in lines)}


def in_state(state: str, rule: str = "", among: Jobs | None = None) -> set[str]:
    """The jobs in a state, of the rules whose name begins so."""
    known = jobs() if among is None else among
    return {number for number, (at, name) in known.items() if at == state and name.startswith(rule)}


@contextmanager
def drained_node():
    """The node takes no new job inside the block; jobs that run go on to their end."""
    node = slurm("sinfo", "--noheader", "--partition=main", "--format=%n").strip()
    slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        yield
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume")


class Study:
    """`snakemake --profile slurm` in a copy of the project, with what was seen in the queue meanwhile."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = copy_project(folder)
        (folder / "slurm").symlink_to((ROOT / "slurm").readlink())  # as in a clone
        self.words = words
        self.seen: list[Jobs] = []

    @contextmanager
    def running(self):
        """Snakemake inside the block; what is left of it ends with the block, and so do its jobs."""
        before = set(jobs())
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *_QUICK, *self.words]
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                self.seen.append({number: job for number, job in jobs().items() if number not in before})

        watching = threading.Thread(target=watch, daemon=True)
        with (self.folder / "output.txt").open("w") as output:
            self.process = subprocess.Popen(command, cwd=self.folder, env=_ON_SLURM, stdout=output, stderr=output)
        watching.start()
        try:
            yield self
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=120)
            finally:
                self.process.kill()
                ended.set()
                watching.join()

    def wait_for(self, what: str, question: Callable[[], Answer], limit_s: float = 900.0) -> Answer:
        """The first answer of `question` that is not empty; fails when Snakemake ends before it."""
        end = time.monotonic() + limit_s
        while self.process.poll() is None and time.monotonic() < end:
            if answer := question():
                return answer
            time.sleep(0.2)
        raise AssertionError(f"not seen: {what}; the queue: {jobs()}\n{self.output[-3000:]}")

    @property
    def output(self) -> str:
        """What Snakemake has said so far."""
        return (self.folder / "output.txt").read_text(encoding="utf-8")
