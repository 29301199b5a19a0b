"""The device of a process: a leased GPU or the CPU."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from workflow_scripts.learning.precision import without_tf32
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import JOBS_PER_GPU

_POLL_S = 1.0

# Run in a child process: CUDA fixes its devices when it starts, so it must not start in this process before
# the lease. The child sees what this process would see: a scheduler's choice, cgroups, the order of CUDA.
_LIST_UUIDS = """
import torch
print(*(torch.cuda.get_device_properties(i).uuid for i in range(torch.cuda.device_count())))
"""


@dataclass(frozen=True)
class Gpu:
    """One GPU: `name` is its entry in CUDA_VISIBLE_DEVICES, `uuid` the same for all jobs of the machine."""

    name: str
    uuid: str


def visible_gpus() -> list[Gpu]:
    """The GPUs this process may use (CUDA_VISIBLE_DEVICES where set), listed without starting CUDA in it.

    Raises:
        InputError: CUDA does not start; its own message is on stderr.
    """
    if not torch.backends.cuda.is_built():
        return []
    child = subprocess.run([sys.executable, "-c", _LIST_UUIDS], stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode:
        raise InputError(
            "compute.gpus: torch cannot list the GPUs of this machine, for the reason above; repair the driver, or set"
            " compute.gpus to 0 for the CPU"
        )
    uuids = child.stdout.split()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(len(uuids))) if chosen is None else (name.strip() for name in chosen.split(","))
    # CUDA ignores all names after that of a device that does not exist: there can be more names than GPUs
    return [Gpu(name, uuid) for name, uuid in zip(names, uuids, strict=False)]


def lock_folder() -> Path:
    """The folder of this user's lock files, one for each GPU and job that may share it."""
    folder = Path(tempfile.gettempdir()) / f"beamtime-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def lease(count: int) -> Iterator[list[IO[bytes]]]:
    """Hold a place on `count` GPUs, and hide all others from CUDA.

    A GPU has as many places as the environment variable BEAMTIME_JOBS_PER_GPU says, one without it: jobs of this user
    share a GPU only where they are allowed to. Waits while too few places are free. Takes all or none, so that two jobs
    never wait for each other. The kernel releases the locks when the process ends, however it ends. Yields the open
    lock files.

    Raises:
        InputError: the machine shows fewer than `count` GPUs.
        RuntimeError: CUDA has started already, so that its devices cannot be chosen any more.
    """
    if torch.cuda.is_initialized():
        raise RuntimeError("a GPU is leased before CUDA starts, but it has started in this process")
    gpus = visible_gpus()
    if len(gpus) < count:
        raise InputError(
            f"compute.gpus: {count} asked for, but this process sees {len(gpus)} (torch {torch.__version__}, "
            f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}); "
            "set compute.gpus to what the machine has, 0 for the CPU"
        )
    with ExitStack() as locks:
        if not (leased := _try_lease(gpus, count, locks)):
            print(f"waiting for {count} of {len(gpus)} GPUs: other jobs hold them", file=sys.stderr, flush=True)
        while not leased:
            time.sleep(_POLL_S)
            leased = _try_lease(gpus, count, locks)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.name for gpu in leased)
        yield list(leased.values())


def _try_lease(gpus: list[Gpu], count: int, locks: ExitStack) -> dict[Gpu, IO[bytes]]:
    """Lock a place on `count` of the GPUs until `locks` is closed; where too few are free lock none, and return {}.

    Every GPU is tried with its first place before any with its second, so that jobs spread over the GPUs.
    """
    leased: dict[Gpu, IO[bytes]] = {}
    places = [(gpu, place) for place in range(int(os.environ.get(JOBS_PER_GPU, "1"))) for gpu in gpus]
    with ExitStack() as attempt:
        for number, (gpu, place) in enumerate(places):
            if len(leased) + len({other for other, _ in places[number:]} - leased.keys()) < count:
                return {}  # so of two jobs that want all, the later one stops at the first lock
            if gpu not in leased and (file := _try_lock(f"{gpu.uuid}.{place}.lock", attempt)):
                leased[gpu] = file
            if len(leased) == count:
                locks.push(attempt.pop_all())
                return leased
    return {}


def _try_lock(name: str, locks: ExitStack) -> IO[bytes] | None:
    """The open lock file, locked until `locks` is closed, or None where another job holds it."""
    file = locks.enter_context((lock_folder() / name).open("ab"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return file


@contextmanager
def leased_device(gpus: int) -> Iterator[torch.device]:
    """The device this process works on: the CPU for `gpus` = 0, else one GPU, held until the block ends.

    Under torchrun the launcher holds the GPUs (`distributed.relaunch_under_torchrun`), and each process
    takes the one of its local rank.

    Raises:
        InputError: a GPU is asked for and there is none (or fewer than processes).
    """
    if gpus == 0:
        yield torch.device("cpu")
        return
    without_tf32()
    if "LOCAL_RANK" in os.environ:
        local_rank, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= present:
            raise InputError(
                f"compute.gpus: process {local_rank + 1} of this machine finds {present} GPUs; "
                "start at most one process per GPU"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        yield device
    else:
        with lease(1):
            yield torch.device("cuda", 0)


@contextmanager
def job_device(job: Job) -> Iterator[torch.device]:
    """The device that the arguments of a job ask for, which its provenance names; raises as `leased_device` does."""
    with leased_device(job.arguments.gpus) as device:
        job.device = str(device)
        yield device
