"""Compare the resources that every rule of a finished study used with those that it requests from a scheduler.

    python -m benchmarks.resources results/laptop
    python -m benchmarks.resources results/laptop --write docs/performance.md
    python -m benchmarks.resources results/smoke --scale smoke -- --configfile my.yaml

Time and memory are those that a job wrote into its provenance. Fails if a rule used more than it requests.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.dry_run import dry_run
from workflow_scripts.workflow.files import partial_name
from workflow_scripts.workflow.verify import located

BEGIN, END = "<!-- measured by benchmarks.resources -->", "<!-- end of what was measured -->"
COLUMNS = (
    *("rule", "jobs", "CPU s, all jobs", "wall s, longest", "asked, min"),
    *("peak memory, MB", "asked, MB", "head room"),
)
MINUTE = 60  # s


@dataclass(frozen=True)
class Asked:
    """The request of one job, by a dry run: names of files as in the rules, memory in MB, run time in minutes."""

    rule: str
    provenance: str
    threads: int
    memory_mb: int
    runtime_min: int


@dataclass(frozen=True)
class Taken:
    """The resources that one job used: seconds and MB."""

    wall_s: float
    cpu_s: float
    memory_mb: float


@dataclass(frozen=True)
class Row:
    """One rule: sums over its jobs; memory and time of the job that came closest to its request."""

    rule: str
    jobs: int
    cpu_s: float
    wall_s: float
    runtime_min: int
    peak_mb: float
    memory_mb: int

    @property
    def head_room(self) -> float:
        """Requested memory over used memory."""
        return self.memory_mb / self.peak_mb

    def cells(self) -> list[str]:
        """The row of the table."""
        return [
            *(self.rule, str(self.jobs), f"{self.cpu_s:.0f}", f"{self.wall_s:.0f}", str(self.runtime_min)),
            *(f"{self.peak_mb:.0f}", str(self.memory_mb), f"{self.head_room:.1f}"),
        ]


def asked(scale: str, words: Iterable[str] = (), folder: Path = ROOT) -> list[Asked]:
    """Every job of the whole study at this scale with what it asks for, as a dry run names them."""
    jobs = []
    for job in dry_run([*words, "--config", f"scale={scale}"], folder):
        provenance = [name for name in job.outputs if name.endswith("provenance.json")]
        if provenance:
            memory_mb, runtime_min = int(job.resources["mem_mb"]), int(job.resources["runtime"])
            jobs.append(Asked(job.rule, provenance[0], job.threads, memory_mb, runtime_min))
    return jobs


def taken(job: Asked, results: Path) -> Taken | None:
    """The resources that a job used, by its record in a results folder; None if it has not run."""
    provenance = located(job.provenance, results)
    if not provenance.is_file():
        return None
    record = json.loads(provenance.read_text(encoding="utf-8"))
    return Taken(record["wall_time_s"], record["cpu_time_s"], record["peak_memory_mb"])


def rows(jobs: Iterable[Asked], results: Path) -> list[Row]:
    """One row for each rule with a job that has run, in alphabetical order."""
    by_rule: dict[str, list[tuple[Asked, Taken]]] = {}
    for job in jobs:
        if (measured := taken(job, results)) is not None:
            by_rule.setdefault(job.rule, []).append((job, measured))
    return [_row(rule, pairs) for rule, pairs in sorted(by_rule.items())]


def _row(rule: str, pairs: list[tuple[Asked, Taken]]) -> Row:
    time_asked, time_taken = max(pairs, key=lambda pair: pair[1].wall_s / pair[0].runtime_min)
    memory_asked, memory_taken = max(pairs, key=lambda pair: pair[1].memory_mb / pair[0].memory_mb)
    return Row(
        rule=rule,
        jobs=len(pairs),
        cpu_s=sum(measured.cpu_s for _, measured in pairs),
        wall_s=time_taken.wall_s,
        runtime_min=time_asked.runtime_min,
        peak_mb=memory_taken.memory_mb,
        memory_mb=memory_asked.memory_mb,
    )


def table(measured: Iterable[Row]) -> list[str]:
    """The rows as lines of Markdown."""
    head = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    return head + [f"| {' | '.join(row.cells())} |" for row in measured]


def read_table(text: str) -> dict[str, Mapping[str, str]]:
    """The table between the marks of a document: rule → cell by column."""
    lines = text.split(BEGIN)[1].split(END)[0].splitlines()
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {cells[0]: dict(zip(split[0], cells, strict=True)) for cells in split[2:]}


def write(page: Path, lines: Iterable[str], begin: str = BEGIN, end: str = END) -> None:
    """Put lines between two marks of a document."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    text = "\n".join([f"{before}{begin}", "", *lines, "", f"{end}{rest.split(end)[1]}"])
    partial_name(page).write_text(text, encoding="utf-8")
    partial_name(page).replace(page)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results/<scale> of a finished study, or a copy of it")
    parser.add_argument("--scale", help="its scale (default: the folder's name)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this document's marks")
    parser.add_argument("words", nargs="*", help="after --: arguments of snakemake with which the study was run")
    options = parser.parse_args(arguments)

    jobs = asked(options.scale or options.results.resolve().name, options.words)
    measured = rows(jobs, options.results)
    unmeasured = sorted({job.rule for job in jobs} - {row.rule for row in measured})
    cpu_s = sum(row.cpu_s for row in measured)
    note = f"{sum(row.jobs for row in measured)} of {len(jobs)} jobs, {cpu_s:.0f} s of CPU."
    lines = [*table(measured), "", note + (f" Not measured: {', '.join(unmeasured)}." if unmeasured else "")]
    print("\n".join(lines))
    if options.write:
        write(options.write, lines)
    over = [row.rule for row in measured if row.peak_mb > row.memory_mb or row.wall_s > row.runtime_min * MINUTE]
    if over:
        print(f"FAILED: used more than requested: {', '.join(over)}", file=sys.stderr)
    return 1 if over or not measured else 0


if __name__ == "__main__":
    sys.exit(main())
