"""What training stages do around the loop: lease a device, train with the job's settings, write the weights."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from workflow_scripts.learning.devices import job_device
from workflow_scripts.learning.distributed import process_group, relaunch_under_torchrun
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.learning.training import HISTORY, State, Task, Trained, train
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.files import write_rows

TRAINED = {"weights": "The selected weights (.safetensors).", "history": "Losses of every epoch (.csv)."}  # outputs


@contextmanager
def training_device(job: Job) -> Iterator[torch.device]:
    """The device of this process, recorded in the provenance; with several GPUs the job is restarted under torchrun.

    Raises:
        InputError: `compute.gpus` is more than there are.
    """
    relaunch_under_torchrun(job.arguments.gpus)
    with job_device(job) as device, process_group(device):
        yield device


def train_for(
    job: Job,
    model: torch.nn.Module,
    task: Task,
    device: torch.device,
    label: str,
    settings: TrainingSettings | None = None,
    keep_epoch: int | None = None,
) -> Trained:
    """`train` with the job's settings, seed, precision and checkpoints; raises the same errors.

    Args:
        label: of the progress bar.
        settings: of the loop; None for the arguments of the job.
        keep_epoch: as in `train`.
    """
    return train(
        model,
        task,
        settings or job.arguments,
        seed=job.arguments.seed,
        device=device,
        precision=job.arguments.precision,
        checkpoint_folder=job.checkpoint_folder,
        keep_epoch=keep_epoch,
        label=label,
    )


def write_trained(job: Job, state: State, history: list[dict[str, float]], about: Mapping[str, Any]) -> None:
    """Write the job's weights with a description of their network, and its history."""
    save_weights(state, job.outputs["weights"], about)
    write_rows(job.outputs["history"], history, HISTORY)


def copy_weights(job: Job) -> None:
    """Copy the pretrained weights and write an empty history, for an arm whose recipe has no finetuning."""
    shutil.copyfile(job.input("pretrained"), job.outputs["weights"])
    write_rows(job.outputs["history"], [], HISTORY)
