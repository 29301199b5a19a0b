"""The first run on a borrowed GPU: what works, what it costs, and as much of the `gpu` scale as the time allows.

    python -m benchmarks.gpu_first_run plan plan.json
    python -m benchmarks.gpu_first_run run plan.json --minutes 9 --output gpu_first_run

`plan` needs Snakemake and writes the commands of all jobs; `run` needs neither Snakemake nor a network. The steps are
those of `STEPS`, in their order, each with a share of the time. Each measurement is written at once, so that a run that
is stopped loses only its current step. At the end <output>.tar.gz contains tables, figures, provenance and logs, but no
training data. `--device cpu` tries everything at `smoke` without a GPU.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.dry_run import PlannedJob, dry_run
from workflow_scripts.workflow.settings import JOBS_PER_GPU

# The order of the chains of the scale `gpu`.
METHODS = ("diffractive_imaging", "matching", "background", "alignment", "potential")
WORKERS = {"cuda": 8, "cpu": 2}  # jobs at a time
STEPS_TIMED = 30  # of each training
MODES = {"cuda": ("eager", "fused", "compiled"), "cpu": ("eager",)}  # of benchmarks.gpu_steps
ARMS = ("published", "corrected")
POLL_S = 0.1
KEPT = (".csv", ".json", ".jsonl", ".log", ".png", ".svg", ".html", ".md", ".txt")
LARGEST_KEPT_BYTES = 2**20  # of a file in the archive


def plan(scale: str, gpus: int) -> list[PlannedJob]:
    """All jobs of a scale, with both arms."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as settings:
        settings.write(f"compute: {{gpus: {gpus}}}\nvariants: [published, corrected]\n")
        settings.flush()
        return dry_run(["--configfile", settings.name, "--config", f"scale={scale}"])


class Run:
    """The steps of a run, and what they measured.

    Args:
        jobs: by scale, from `plan`.
        output: folder of everything that is written.
        device: cuda or cpu.
        deadline: of the run, in `time.monotonic()`.
    """

    def __init__(self, jobs: dict[str, list[PlannedJob]], output: Path, device: str, deadline: float) -> None:
        self.jobs, self.output, self.device, self.deadline = jobs, output, device, deadline
        self.output.mkdir(parents=True, exist_ok=True)
        python = self.output / ".bin" / "python"
        python.parent.mkdir(exist_ok=True)
        # Commands begin with `python`, which the machine may not have under this name
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{python.parent.absolute()}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            JOBS_PER_GPU: str(WORKERS["cuda"]),
        }

    def record(self, step: str, **values: Any) -> None:
        """Append what was measured to steps.jsonl."""
        line = json.dumps({"step": step, **values}, ensure_ascii=False)
        with (self.output / "steps.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line[:300], flush=True)

    def call(self, step: str, module: str, *words: str, limit_s: float) -> None:
        """Run a module of the project, and record its last line of output as JSON, or how it ended."""
        began = time.monotonic()
        limit_s = min(limit_s, self.deadline - began)
        if limit_s <= 0:
            return
        command = [sys.executable, "-m", module, *words]
        log = self.output / f"{step.replace(' ', '_')}.log"
        with log.open("a", encoding="utf-8") as file:
            try:
                ran = subprocess.run(
                    command,
                    cwd=ROOT,
                    env=self.environment,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    text=True,
                    timeout=limit_s,
                    check=False,
                )
                code, printed = ran.returncode, ran.stdout.strip()
            except subprocess.TimeoutExpired:
                code, printed = "time limit", ""
            file.write(printed + "\n")
        last_line = printed.splitlines()[-1] if printed else ""
        try:
            result = json.loads(last_line)
        except ValueError:
            result = last_line[:300]
        self.record(step, exit_code=code, wall_s=round(time.monotonic() - began, 1), result=result)

    def run_jobs(self, step: str, jobs: Sequence[PlannedJob], limit_s: float) -> None:
        """Run jobs as soon as their inputs exist, several at a time, until all are done or the time is over."""
        deadline = min(time.monotonic() + limit_s, self.deadline)
        missing = {file for job in jobs for file in job.outputs}
        waiting, running, failed = list(jobs), {}, []
        while (waiting or running) and time.monotonic() < deadline:
            for job in [job for job in waiting if self._is_ready(job, missing)][: WORKERS[self.device] - len(running)]:
                waiting.remove(job)
                running[self._start(job)] = (job, time.monotonic())
            for process in [process for process in running if process.poll() is not None]:
                job, began = running.pop(process)
                missing -= set(job.outputs)
                if process.returncode:
                    failed.append(job.rule)
                self.record(
                    step, rule=job.rule, exit_code=process.returncode, wall_s=round(time.monotonic() - began, 1)
                )
            if not running and not any(self._is_ready(job, missing) for job in waiting):
                break  # the remaining jobs depend on a job that failed
            time.sleep(POLL_S)
        for process in running:
            process.kill()
            process.wait()
        stopped = [job.rule for job, _ in running.values()]
        self.record(step, failed=failed, stopped=stopped, not_started=[job.rule for job in waiting])

    def _is_ready(self, job: PlannedJob, missing: set[str]) -> bool:
        """Whether all inputs exist, and none of them is the output of a job that is not done."""
        return not any(file in missing for file in job.inputs) and all((ROOT / file).exists() for file in job.inputs)

    def _start(self, job: PlannedJob) -> subprocess.Popen:
        for file in (*job.outputs, job.log):
            (ROOT / file).parent.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(["bash", "-c", f"exec {job.command}"], cwd=ROOT, env=self.environment)

    def archive(self) -> Path:
        """All small output files in one archive."""
        path = self.output.with_suffix(".tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            for folder in (self.output, *(ROOT / "results" / scale for scale in self.jobs)):
                for file in sorted(folder.rglob("*")):
                    if file.suffix in KEPT and file.is_file() and file.stat().st_size <= LARGEST_KEPT_BYTES:
                        name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.relative_to(folder.parent)
                        archive.add(file, name)
        return path


def versions(run: Run) -> None:
    """What is installed, and which device there is."""
    run.call("versions", "benchmarks.gpu_steps", "versions", limit_s=60)


def large_networks(run: Run) -> None:
    """One training step of each large network in bfloat16."""
    run.call("large networks", "benchmarks.gpu_steps", "networks", "--device", run.device, limit_s=120)


def smoke(run: Run) -> None:
    """All methods at `smoke`."""
    run.run_jobs("smoke", run.jobs["smoke"], limit_s=150)


def training_steps(run: Run) -> None:
    """Some steps of every pretraining, on the first training file only: unchanged, then with faster variants."""
    jobs = run.jobs["smoke" if run.device == "cpu" else "gpu"]
    first_files = [job for job in jobs if job.rule.endswith("_synthesize") and "--split train --shard 0" in job.command]
    run.run_jobs("first training files", first_files, limit_s=90)
    end = time.monotonic() + 150
    for mode in MODES[run.device]:
        for job in jobs:
            arm = re.search(r"--variant (\S+) --seed 0 ", job.command)
            if job.rule.endswith("_pretrain") and arm and arm[1] in ARMS:
                words = ["training", "--mode", mode, "--steps", str(STEPS_TIMED), "--command", job.command]
                limit_s = min(40, end - time.monotonic())
                run.call(f"{job.rule} {arm[1]} {mode}", "benchmarks.gpu_steps", *words, limit_s=limit_s)


def engines(run: Run) -> None:
    """Multislice, stitching and ptychography."""
    small = ["--side", "64"] if run.device == "cpu" else []
    run.call("multislice", "benchmarks.multislice", "--device", run.device, *small, limit_s=60)
    run.call("stitching", "benchmarks.stitching", "--device", run.device, *small, "--repeats", "1", limit_s=60)
    points = ["--points", "24" if run.device == "cpu" else "96", "--repeats", "1"]
    run.call("ptychography", "benchmarks.ptychography", "--device", run.device, *points, limit_s=60)


def chains(run: Run) -> None:
    """The chains of the scale `gpu`, one method after the other, as far as the time allows."""
    for method in METHODS:
        jobs = [job for job in run.jobs.get("gpu", []) if job.rule.startswith(method)]
        run.run_jobs(f"gpu {method}", jobs, limit_s=float("inf"))


STEPS = (versions, large_networks, smoke, training_steps, engines, chains)


def read_plan(path: Path) -> dict[str, list[PlannedJob]]:
    """The jobs of a plan by scale."""
    scales = json.loads(path.read_text(encoding="utf-8"))
    return {scale: [PlannedJob(**job) for job in jobs] for scale, jobs in scales.items()}


def plan_of_all(device: str) -> dict[str, list[PlannedJob]]:
    """The jobs of `smoke` and, for a GPU, of `gpu`."""
    if device == "cpu":
        return {"smoke": plan("smoke", gpus=0)}
    return {scale: plan(scale, gpus=1) for scale in ("smoke", "gpu")}


def main() -> None:
    """Write a plan, or carry it out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_first_run", description=__doc__)
    parser.add_argument("action", choices=("plan", "run"))
    parser.add_argument("plan", type=Path, help="file of the planned commands")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=9, help="after which everything stops (default 9)")
    parser.add_argument("--output", type=Path, default=Path("gpu_first_run"), help="folder of what is measured")
    parser.add_argument("--steps", nargs="+", choices=[step.__name__ for step in STEPS], help="default: all")
    arguments = parser.parse_args()
    if arguments.action == "plan":
        jobs = {scale: list(map(asdict, jobs)) for scale, jobs in plan_of_all(arguments.device).items()}
        arguments.plan.write_text(json.dumps(jobs), encoding="utf-8")
        return
    deadline = time.monotonic() + 60 * arguments.minutes
    run = Run(read_plan(arguments.plan), arguments.output, arguments.device, deadline)
    for step in STEPS:
        if arguments.steps is None or step.__name__ in arguments.steps:
            step(run)
            print(run.archive(), flush=True)


if __name__ == "__main__":
    main()
