"""Show one arm's network a few samples of the material that pretraining never saw.

The published recipe has no such stage: its arm hands the pretrained weights on.
"""

import shutil
from typing import Literal

from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.learning.distributed import process_group, relaunch_under_torchrun
from workflow_scripts.learning.training import HISTORY, train
from workflow_scripts.learning.weights import read_metadata, save_weights
from workflow_scripts.potential.image_task import ImageTask, Lesson
from workflow_scripts.potential.model import load_network
from workflow_scripts.potential.samples import read_samples
from workflow_scripts.potential.settings import Finetune
from workflow_scripts.potential.splits import finetuning_split
from workflow_scripts.potential.variants import ARMS
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_rows
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(description="Arm of the study whose weights these are.")
    held_out_material: str = Field(description="The material that pretraining never saw.")
    seed: int = Field(ge=0, description="Seed of the choice of samples, of shuffles and of noise.")


def finetune(job: Job[Arguments]) -> None:
    """Write the adapted weights and the history."""
    arguments = job.arguments
    variant = ARMS[arguments.variant]
    if variant.without_finetune:
        shutil.copyfile(job.input("pretrained"), job.outputs["weights"])
        write_rows(job.outputs["history"], [], HISTORY)
        return
    relaunch_under_torchrun(arguments.gpus)
    with leased_device(arguments.gpus) as device, process_group(device):
        job.device = str(device)
        network = load_network(job.input("pretrained"))
        about = read_metadata(job.input("pretrained"))
        samples = read_samples(job.inputs["shards"], variant.unreadable_becomes_zeros)
        split = finetuning_split(
            samples,
            variant,
            arguments.held_out_material,
            arguments.samples,
            arguments.validation_share,
            arguments.seed,
        )
        trained = train(
            network,
            ImageTask(*split, variant, Lesson(**about["lesson"]), device),
            arguments,
            seed=arguments.seed,
            device=device,
            precision=arguments.precision,
            checkpoint_folder=job.checkpoint_folder,
            label=f"finetuning {arguments.variant}",
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
