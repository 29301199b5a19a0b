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
_held: list[IO[bytes]] = []  # lock files of this process's lease

# Run in a child process: CUDA fixes its devices when it is initialised, which must not happen in this process before
# the lease. The child has the same devices in the same order: those of the scheduler, of cgroups and of CUDA.
_LIST_UUIDS = """
import torch
print(*(torch.cuda.get_device_properties(i).uuid for i in range(torch.cuda.device_count())))
"""


@dataclass(frozen=True)
class Gpu:
    """One GPU: `name` is its entry in CUDA_VISIBLE_DEVICES; `uuid` is the same in all jobs of the machine."""

    name: str
    uuid: str


def visible_gpus() -> list[Gpu]:
    """The GPUs this process may use (CUDA_VISIBLE_DEVICES if set), listed without initialising CUDA in it.

    Raises:
        InputError: CUDA cannot be initialised; its message is on stderr.
    """
    if not torch.backends.cuda.is_built():
        return []
    child = subprocess.run([sys.executable, "-c", _LIST_UUIDS], stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode:
        raise InputError(
            "compute.gpus: torch cannot list the GPUs of this machine (see above); repair the driver, or set"
            " compute.gpus to 0 for the CPU"
        )
    uuids = child.stdout.split()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(len(uuids))) if chosen is None else (name.strip() for name in chosen.split(","))
    # CUDA ignores everything after the first device that does not exist, so there can be more names than GPUs
    return [Gpu(name, uuid) for name, uuid in zip(names, uuids, strict=False)]


def lock_folder() -> Path:
    """The folder of this user's lock files: one for each place on a GPU (see `lease`)."""
    folder = Path(tempfile.gettempdir()) / f"beamtime-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def lease(count: int) -> Iterator[list[IO[bytes]]]:
    """Lease a place on `count` GPUs until the block ends, and hide all other GPUs from CUDA; yields the lock files.

    The environment variable BEAMTIME_JOBS_PER_GPU sets the places on each GPU, that is, how many jobs of this user may
    share it (default 1). Waits while too few places are free. Leases all or none, so that two jobs cannot deadlock. The
    kernel releases the locks when the process ends, even if it is killed.

    Raises:
        InputError: fewer than `count` GPUs are visible.
        RuntimeError: CUDA is initialised already, so that its devices can no longer be selected.
    """
    if torch.cuda.is_initialized():
        raise RuntimeError("a GPU must be leased before CUDA is initialised in this process")
    gpus = visible_gpus()
    if len(gpus) < count:
        raise InputError(
            f"compute.gpus: is {count}, but this process sees {len(gpus)} (torch {torch.__version__}, "
            f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}); "
            "set compute.gpus to the number of GPUs, or to 0 for the CPU"
        )
    with ExitStack() as locks:
        if not (leased := _try_lease(gpus, count, locks)):
            print(f"waiting for {count} of {len(gpus)} GPUs used by other jobs", file=sys.stderr, flush=True)
        while not leased:
            time.sleep(_POLL_S)
            leased = _try_lease(gpus, count, locks)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.name for gpu in leased)
        files = list(leased.values())
        _held.extend(files)
        try:
            yield files
        finally:
            _held[:] = [lock for lock in _held if lock not in files]


def _try_lease(gpus: list[Gpu], count: int, locks: ExitStack) -> dict[Gpu, IO[bytes]]:
    """Lock a place on `count` of the GPUs until `locks` is closed; lock none and return {} if too few are free.

    The first places of all GPUs are tried before any second place, so that jobs are spread over the GPUs.
    """
    leased: dict[Gpu, IO[bytes]] = {}
    places = [(gpu, place) for place in range(int(os.environ.get(JOBS_PER_GPU, "1"))) for gpu in gpus]
    with ExitStack() as attempt:
        for number, (gpu, place) in enumerate(places):
            if len(leased) + len({other for other, _ in places[number:]} - leased.keys()) < count:
                return {}  # give up early, so that of two jobs that need all GPUs the later one stops at the first lock
            if gpu not in leased and (file := _try_lock(f"{gpu.uuid}.{place}.lock", attempt)):
                leased[gpu] = file
            if len(leased) == count:
                locks.push(attempt.pop_all())
                return leased
    return {}


def _try_lock(name: str, locks: ExitStack) -> IO[bytes] | None:
    """The open lock file, locked until `locks` is closed, or None if another job has locked it."""
    file = locks.enter_context((lock_folder() / name).open("ab"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return file


@contextmanager
def host_work() -> Iterator[None]:
    """Give the leased GPU to other jobs until the block or the decorated function ends.

    For work on the CPU, such as reading files, Poisson counts and stitching. Memory in use on the GPU is kept. Does
    nothing where this process holds no lease.
    """
    held = list(_held)
    if held and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    for lock in held:
        fcntl.flock(lock, fcntl.LOCK_UN)
    try:
        yield
    finally:
        for lock in held:
            fcntl.flock(lock, fcntl.LOCK_EX)


@contextmanager
def leased_device(gpus: int) -> Iterator[torch.device]:
    """The device of this process: the CPU for `gpus` = 0, otherwise one GPU, leased until the block ends.

    Under torchrun the launcher has leased the GPUs (`distributed.relaunch_under_torchrun`), and each process uses the
    GPU of its local rank.

    Raises:
        InputError: there is no GPU, or fewer GPUs than processes.
    """
    without_tf32()
    if gpus == 0:
        yield torch.device("cpu")
    elif "LOCAL_RANK" in os.environ:
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
    """`leased_device` with the settings of a job; the device is recorded in the provenance."""
    with leased_device(job.arguments.gpus) as device:
        job.device = str(device)
        yield device
