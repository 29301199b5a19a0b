"""The jobs of a study as a dry run prints them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.workflow.closure import ROOT


@dataclass(frozen=True)
class PlannedJob:
    """One job of a rule that runs a command.

    Attributes:
        rule: its name.
        inputs, outputs: files as the rule names them.
        log: file of its messages; empty if it has none.
        threads: that it asks for.
        resources: by name, as text.
        command: its line for the shell.
    """

    rule: str
    inputs: list[str]
    outputs: list[str]
    log: str
    threads: int
    resources: dict[str, str]
    command: str


def dry_run(words: Sequence[str], folder: Path = ROOT) -> list[PlannedJob]:
    """All jobs of a study, finished or not; arguments and errors as for `printed_plan`."""
    return parse(printed_plan(words, folder))


def printed_plan(words: Sequence[str], folder: Path = ROOT) -> str:
    """The output of a dry run of all jobs.

    Args:
        words: further arguments of Snakemake.
        folder: of the Snakefile.

    Raises:
        RuntimeError: Snakemake cannot plan them.
    """
    call = [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--forceall", "--cores", "1", *words]
    # With Slurm's packages installed and no controller running, the call would wait for it.
    environment = {"SLURM_CONF": "/dev/null"} | os.environ
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"snakemake cannot plan {' '.join(words)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def parse(text: str) -> list[PlannedJob]:
    """The jobs in the output of a dry run; rules that only collect have no command and are left out."""
    jobs = []
    for block in re.split(r"^(?=(?:local)?rule \w+:$)", text, flags=re.MULTILINE)[1:]:
        lines = dict(re.findall(r"^    (\w+): (.*)$", block, flags=re.MULTILINE))
        command = re.search(r"^Shell command: (.*)$", block, flags=re.MULTILINE)
        if command and command[1] != "None":
            jobs.append(
                PlannedJob(
                    rule=re.match(r"(?:local)?rule (\w+):", block)[1],
                    inputs=_listed(lines.get("input", "")),
                    outputs=_listed(lines.get("output", "")),
                    log=lines.get("log", ""),
                    threads=int(lines.get("threads", 1)),
                    resources=dict(pair.split("=", 1) for pair in _listed(lines.get("resources", ""))),
                    command=command[1],
                )
            )
    return jobs


def stage_words(command: str) -> list[str]:
    """The stage script that a job's command runs, as a module, and its arguments."""
    words = shlex.split(command.split(" 2> ")[0])
    return words[words.index("-m") + 1 :]


def _listed(text: str) -> list[str]:
    return text.split(", ") if text else []
