"""Train one arm's network on a few samples of the material that was left out of pretraining.

The published recipe has no such stage: its arm copies the pretrained weights.
"""

from typing import Literal

from pydantic import Field

from workflow_scripts.learning.stages import TRAINED, copy_weights, train_for, training_device, write_trained
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.potential.networks.model import load_network
from workflow_scripts.potential.networks.splits import finetuning_split
from workflow_scripts.potential.networks.tasks import Augmentation, ImageTask
from workflow_scripts.potential.settings import ARMS, Finetune
from workflow_scripts.potential.simulation.samples import read_samples
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(description="Arm of the study that is finetuned.")
    held_out_material: str = Field(description="The material that was left out of pretraining.")
    seed: int = Field(ge=0, description="Seed of the choice of samples, of shuffles and of noise.")


def finetune(job: Job[Arguments]) -> None:
    """Write the adapted weights and the history."""
    arguments = job.arguments
    variant = ARMS[arguments.variant]
    if variant.without_finetune:
        copy_weights(job)
        return
    network = load_network(job.input("pretrained"))
    metadata = read_metadata(job.input("pretrained"))
    samples = read_samples(job.inputs["shards"], variant.unreadable_becomes_zeros, in_files=True)
    split = finetuning_split(
        samples,
        variant,
        arguments.held_out_material,
        arguments.samples,
        arguments.validation_share,
        arguments.seed,
    )
    with training_device(job) as device:
        trained = train_for(
            job,
            network,
            ImageTask(*split, variant, Augmentation(**metadata["lesson"]), device),
            device,
            f"finetuning {arguments.variant}",
        )
    write_trained(job, trained.best, trained.history, metadata)


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
