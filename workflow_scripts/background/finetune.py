"""Show one arm's network flat fields of earlier sessions of the tested microscopes."""

from typing import Literal

from pydantic import Field

from workflow_scripts.background.model import load_network, load_network_loosely
from workflow_scripts.background.settings import Finetune
from workflow_scripts.background.splits import finetuning_split
from workflow_scripts.background.tasks import BackgroundTask
from workflow_scripts.background.tile_files import read_bank
from workflow_scripts.background.variants import ARMS
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.learning.distributed import process_group, relaunch_under_torchrun
from workflow_scripts.learning.training import HISTORY, train
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_rows
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(description="Arm of the study whose weights these are.")
    seed: int = Field(ge=0, description="Seed of all items.")


def finetune(job: Job[Arguments]) -> None:
    """Write the adapted weights and the history."""
    arguments = job.arguments
    relaunch_under_torchrun(arguments.gpus)
    arm = arguments.variant
    load = load_network_loosely if ARMS[arm].weights_load_loosely else load_network
    with leased_device(arguments.gpus) as device, process_group(device):
        job.device = str(device)
        network, about = load(job.input("pretrained"), arm)
        task = BackgroundTask(
            *finetuning_split(read_bank(job.inputs["shards"]), ARMS[arm]),
            arm,
            arguments.pairs,
            arguments.validation_pairs,
            about["largest_set"],
            device,
        )
        trained = train(
            network,
            task,
            arguments,
            seed=arguments.seed,
            device=device,
            precision=arguments.precision,
            checkpoint_folder=job.checkpoint_folder,
            label=f"finetuning {arm}",
        )
    save_weights(trained.best, job.outputs["weights"], about)
    write_rows(job.outputs["history"], trained.history, HISTORY)


if __name__ == "__main__":
    Command(
        finetune,
        Arguments,
        inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        outputs={"weights": "The adapted weights (.safetensors).", "history": "Losses of every epoch (.csv)."},
    ).main()
