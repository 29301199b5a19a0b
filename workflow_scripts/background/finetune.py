"""Finetune one arm's network on flat fields of earlier sessions of the tested microscopes."""

from typing import Literal

from pydantic import Field

from workflow_scripts.background.networks.model import load_network
from workflow_scripts.background.networks.tasks import BackgroundTask, finetuning_split
from workflow_scripts.background.settings import ARMS, Finetune
from workflow_scripts.background.simulation.tile_files import read_training_tiles
from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, the arm, and the device."""

    variant: Literal[*ARMS] = Field(description="Arm of the study whose weights are finetuned.")
    seed: int = Field(ge=0, description="Seed of shuffles and of the random sets of tiles.")


def finetune(job: Job[Arguments]) -> None:
    """Write the finetuned weights and the history."""
    arguments = job.arguments
    arm = arguments.variant
    network, about = load_network(job.input("pretrained"), arm, ARMS[arm].weights_load_loosely)
    split = finetuning_split(read_training_tiles(job.inputs["shards"]), ARMS[arm])
    with training_device(job) as device:
        task = BackgroundTask(split, arm, arguments, about["largest_set"], device)
        trained = train_for(job, network, task, device, f"finetuning {arm}")
    write_trained(job, trained.best, trained.history, about)


if __name__ == "__main__":
    Command(
        finetune,
        Arguments,
        inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        outputs=TRAINED,
    ).main()
