"""The jobs of a method as a dry run plans them at `smoke`, each in this process and, where it may take one, on a GPU.

The GPU is the pretend one. A test runs one job by its name, that of its log; jobs whose outputs it needs run before it,
once for all tests.
"""

import contextlib
import os
import runpy
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from snakemake.utils import update_config

from benchmarks import gpu_memory
from tests.pretend_gpu import Counts, GpuTensor, pretend_gpu
from tests.workflow.running import copy_project
from workflow_scripts.learning import stages
from workflow_scripts.workflow import command
from workflow_scripts.workflow.dry_run import PlannedJob, dry_run, stage_words
from workflow_scripts.workflow.reference import merged

BOTH_ARMS = {"compute": {"gpus": 1}, "variants": ["published", "corrected"]}
ENTRY = "mine"  # name of the entry of `apply`


class PretendStudy:
    """A method's jobs on the pretend GPU, in a folder of their own."""

    def __init__(self, folder: Path, method: str, changes: Mapping | None = None, entry: Mapping | None = None) -> None:
        """Plan all jobs of the method.

        Args:
            folder: empty but for the user's files.
            method: of the study.
            changes: of its settings at `smoke`.
            entry: of `apply`, whose jobs are then planned too.
        """
        self.folder, self.method = copy_project(folder), method
        self._failed: dict[str, str] = {}
        self._overlay = overlay = (
            BOTH_ARMS | {method: changes or {}} | ({"apply": {method: {ENTRY: entry}}} if entry else {})
        )
        (folder / "gpu.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
        targets = [f"results/smoke/{method}/evaluate/metrics.csv", *([f"{method}_apply"] if entry else [])]
        words = ("--configfile", "gpu.yaml", "--config", "scale=smoke", "--", *targets)
        self.jobs = {Path(job.log).stem: job for job in dry_run(words, folder) if job.log}
        self._made_by = {path: name for name, job in self.jobs.items() for path in job.outputs}

    def on_gpu(self) -> list[str]:
        """The names of the jobs that take a GPU."""
        return sorted(name for name, job in self.jobs.items() if takes_gpu(job))

    def failures(self, names: Iterable[str]) -> dict[str, str]:
        """Run jobs, each of which may fail; the errors by name. Jobs that need outputs of a failed one are left out."""
        errors = {}
        for name in names:
            try:
                self.run(name)
            except pytest.skip.Exception:
                continue
            except (Exception, SystemExit) as error:
                errors[name] = str(error)
        return errors

    def run(self, name: str, **flags: str) -> Counts:
        """Run one job after those whose outputs it needs; what it counted. Skips the test where one of those fails.

        Args:
            name: of the job.
            flags: other values of its flags, as in `changed_words`; the outputs of such a run are put aside, in the
                folder `changed`, where no other job finds them.
        """
        job = self.jobs[name]
        self._make_inputs(job)
        words = [f"changed/{word}" if flags and word in job.outputs else word for word in stage_words(job.command)]
        with pretend_gpu() if takes_gpu(job) else nullcontext(Counts()) as counts:
            run_stage(changed_words(words, flags), self.folder)
        return counts

    def kept(self, name: str) -> int:
        """How many numbers of float32 a training's task and queue keep on the GPU when it begins."""
        numbers: list[int] = []

        def begin(model: Any, task: Any, *_: Any, **__: Any) -> None:
            queue = getattr(model, "queue", torch.zeros(0))
            numbers.append(sum(tensor.numel() for tensor in _gpu_tensors(task, {})) + queue.numel())
            raise _BegunError

        self._make_inputs(self.jobs[name])
        with mock.patch.object(stages, "train", begin), contextlib.suppress(_BegunError):
            self.run(name)
        return numbers[0]

    def unlike_the_table(self) -> dict[str, tuple[int, int]]:
        """Trainings that keep other numbers than benchmarks.gpu_memory computes: kept and computed."""
        settings = merged("smoke")
        update_config(settings, self._overlay)
        computed = {f"{row[1]}_{row[2]}_seed0": row[4] for row in gpu_memory.rows(settings) if row[0] == self.method}
        kept = {name: (self.kept(name), number) for name, number in computed.items()}
        # Where patterns near the rim of a scan are left out, the number is an estimate
        return {name: both for name, both in kept.items() if both[0] != pytest.approx(both[1], rel=0.12)}

    def _make_inputs(self, job: PlannedJob) -> None:
        for path in job.inputs:
            if path in self._made_by and not (self.folder / path).exists():
                self._run_first(self._made_by[path])

    def _run_first(self, name: str) -> None:
        if name not in self._failed:
            try:
                self.run(name)
            except (Exception, SystemExit) as error:
                self._failed[name] = str(error)
        if name in self._failed:
            pytest.skip(f"{name} failed: {self._failed[name]}")


def takes_gpu(job: PlannedJob) -> bool:
    """Whether a job asks for a GPU."""
    return job.resources.get("gpu", "0") != "0"


class _BegunError(Exception):
    """A training began, of which no more is wanted."""


def _gpu_tensors(value: Any, seen: dict[int, Any]) -> Iterator[GpuTensor]:
    """The float32 images and the like that an object of the project refers to."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, GpuTensor):
        if value.dtype == torch.float32 and value.ndim > 1:
            yield value
    elif isinstance(value, Mapping):
        yield from _gpu_tensors(list(value.values()), seen)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _gpu_tensors(part, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        yield from _gpu_tensors(list(vars(value).values()), seen)


def every_estimator(method: str) -> dict:
    """Settings that leave out no baseline, and no arm of the ablation at the scale `gpu`."""
    evaluate = merged("gpu")[method]["evaluate"]
    ablations = {"evaluate": {"ablations": evaluate["ablations"]}} if "ablations" in evaluate else {}
    return {"leave_out": []} | ablations


def run_stage(words: Sequence[str], folder: Path) -> None:
    """Run a stage script in this process: its module and its arguments, with paths relative to the folder.

    Raises:
        SystemExit: the script refused its input; its sentence is in stderr.
    """
    checkpoints = mock.patch.object(command, "CHECKPOINTS", folder / ".checkpoints")
    with checkpoints, mock.patch.object(sys, "argv", list(words)), _directory(folder), _signals_restored():
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def changed_words(words: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """A command line with other values of some flags, named as in Python: `network__kind` for --network.kind."""
    words = list(words)
    for key, value in flags.items():
        words[words.index(f"--{key.replace('__', '.').replace('_', '-')}") + 1] = value
    return words


@contextmanager
def _directory(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Undo the handlers that a stage script sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
