"""Training with several processes: torchrun with one process per GPU (or gloo processes on the CPU)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from workflow_scripts.learning import devices
from workflow_scripts.workflow.errors import InputError


def rank() -> int:
    """The number of this process among the `world_size()` of the training, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes of the training: 1 unless torchrun started this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the process that writes files and messages."""
    return rank() == 0


def relaunch_under_torchrun(gpus: int) -> None:
    """Replace this process by torchrun with `gpus` copies of it; do nothing if one process is enough.

    All GPUs are leased here at once, and the lock files stay open in torchrun: if each copy leased its own GPU, two
    jobs could each hold half of the GPUs and wait forever.

    Raises:
        InputError: there are fewer than `gpus` GPUs.
    """
    if gpus <= 1 or "WORLD_SIZE" in os.environ:
        return
    script = sys.modules["__main__"].__spec__  # None where a file was run and not `-m module`
    program = [sys.argv[0]] if script is None else ["-m", script.name]
    with devices.lease(gpus) as locks:
        for lock in locks:
            os.set_inheritable(lock.fileno(), True)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
        os.execv(sys.executable, [*torchrun, *program, *sys.argv[1:]])


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Connect the processes that torchrun started: NCCL on GPUs, gloo on the CPU; nothing for a single process."""
    if world_size() == 1:
        yield
        return
    on_gpu = device.type == "cuda"
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", device_id=device if on_gpu else None)
    yield
    # Not in a finally block: a failed process exits at once, and torchrun ends the others, which are waiting for it.
    torch.distributed.destroy_process_group()


def rows_of_this_process(batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """This process's share of the rows of a batch, a contiguous slice of the first axis of each tensor.

    Raises:
        InputError: the number of rows is not a multiple of the number of processes.
    """
    processes = world_size()
    if processes == 1:
        return batch
    rows = len(batch[0])
    check_divides(rows)
    share = rows // processes
    return tuple(tensor[rank() * share : (rank() + 1) * share] for tensor in batch)


def check_divides(batch_size: int) -> None:
    """Raise an InputError unless the batch size is a multiple of the number of processes."""
    if batch_size % world_size():
        raise InputError(
            f"batch_size is {batch_size}, which cannot be divided among {world_size()} processes; "
            f"choose a multiple of {world_size()}"
        )


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of a detached tensor over the processes, the same in each."""
    if world_size() > 1:
        value = value / world_size()
        torch.distributed.all_reduce(value)
    return value


def average_gradients(model: torch.nn.Module) -> None:
    """Replace every gradient by its mean over the processes.

    DistributedDataParallel fails if a loss calls the network twice or does not depend on some parameter.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    mean = mean_over_processes(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def share_buffers(model: torch.nn.Module) -> None:
    """Copy the buffers of the first process, such as running means of batch normalisation, to all others."""
    if world_size() > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
