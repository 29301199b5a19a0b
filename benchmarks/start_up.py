"""Measure what the start of every job costs: the imports of each stage script, and the plan of a whole study.

    python -m benchmarks.start_up
    python -m benchmarks.start_up --methods potential --write docs/performance.md

CPU time of a fresh Python that imports the script and does nothing, the least of three, and its modules; that of
``snakemake --dry-run`` at the scale `paper`. Fails where the plan takes more than 10 s or has more than 500 jobs.
"""

import argparse
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.resources import write
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import STAGES, known_methods
from workflow_scripts.workflow.dry_run import printed_plan

BEGIN, END = "<!-- measured by benchmarks.start_up -->", "<!-- end of the imports -->"
HEAVY = ("torch", "scipy", "pandas", "matplotlib", "skimage", "ase", "monai")
PROGRAM = """
import importlib, resource, sys
importlib.import_module(sys.argv[1])
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, len(sys.modules), *(name for name in sys.argv[2:] if name in sys.modules))
"""
LONGEST_PLAN_S, MOST_JOBS = 10, 500


def imported(module: str, repeats: int) -> tuple[float, int, list[str]]:
    """Least CPU time in s, number of modules, and which of `HEAVY` are among them."""
    found = []
    for _ in range(repeats):
        call = [sys.executable, "-c", PROGRAM, module, *HEAVY]
        cpu, modules, *heavy = subprocess.run(
            call, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split()
        found.append((float(cpu), int(modules), heavy))
    return min(found)


def plan() -> tuple[float, int]:
    """CPU time in s and number of jobs of a plan of the whole study at the scale `paper`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = printed_plan(["--config", "scale=paper"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, int(re.search(r"^total +(\d+)$", printed, flags=re.MULTILINE)[1])


def rows(methods: list[str], repeats: int) -> Iterator[str]:
    """The table as lines of Markdown."""
    yield "| stage script | CPU s | modules | of which heavy |"
    yield "|---|---|---|---|"
    for method in methods:
        for stage in STAGES:
            cpu, modules, heavy = imported(f"workflow_scripts.{method}.{stage}", repeats)
            yield f"| {method}.{stage} | {cpu:.2f} | {modules} | {', '.join(heavy)} |"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=known_methods(), default=known_methods(), help="default: all")
    parser.add_argument("--repeats", type=int, default=3, help="of each import; the least counts (default 3)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this document's marks")
    options = parser.parse_args(arguments)

    lines = []
    for row in rows(options.methods, options.repeats):
        print(row, flush=True)
        lines.append(row)
    cpu, jobs = plan()
    lines += ["", f"The plan of the whole study at `paper`: {jobs} jobs in {cpu:.1f} s of CPU."]
    print(lines[-1])
    if options.write:
        write(options.write, lines, BEGIN, END)
    return 0 if cpu <= LONGEST_PLAN_S and jobs <= MOST_JOBS else 1


if __name__ == "__main__":
    sys.exit(main())
