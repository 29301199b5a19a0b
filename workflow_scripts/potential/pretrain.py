"""Train one arm's network on all materials except the held-out one; the published recipe trains on all of them."""

from dataclasses import asdict
from typing import Literal

from pydantic import Field

from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.potential.networks.encoding import input_channels, output_channels
from workflow_scripts.potential.networks.model import describe_network, make_network
from workflow_scripts.potential.networks.splits import pretraining_split
from workflow_scripts.potential.networks.tasks import Augmentation, ImageTask
from workflow_scripts.potential.settings import ABLATIONS, ARMS, PLAIN_UNET, Pretrain
from workflow_scripts.potential.simulation.samples import read_samples
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(
        description="Arm of the study: published, corrected, unet (the corrected recipe with the plain U-net), or one"
        " with a single fault."
    )
    held_out_material: str = Field(description="The material that is left out of pretraining.")
    seed: int = Field(ge=0, description="Seed of the network's first weights, of the split, of shuffles and of noise.")


def pretrain(job: Job[Arguments]) -> None:
    """Write the weights that validate best and the history."""
    arguments = job.arguments
    variant = ARMS[arguments.variant]
    epochs = arguments.ablation_epochs if arguments.variant in ABLATIONS else arguments.epochs
    network_settings = arguments.network
    if arguments.variant == PLAIN_UNET:
        network_settings = network_settings.model_copy(update={"kind": "unet"})
    shape = input_channels(variant), output_channels(variant)
    augmentation = Augmentation.of(arguments)
    samples = read_samples(job.inputs["shards"], variant.unreadable_becomes_zeros, in_files=True)
    split = pretraining_split(samples, variant, arguments.held_out_material, arguments.validation_share, arguments.seed)
    with training_device(job) as device:
        trained = train_for(
            job,
            make_network(network_settings, *shape, arguments.seed),
            ImageTask(*split, variant, augmentation, device),
            device,
            f"pretraining {arguments.variant}",
            settings=arguments.model_copy(update={"epochs": epochs}),
        )
    metadata = {
        **describe_network(network_settings, *shape),
        "arm": arguments.variant,
        "lesson": asdict(augmentation),
        "microscope": asdict(samples.microscope),
    }
    write_trained(job, trained.best, trained.history, metadata)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={"shards": "Training files of the stage synthesize (.npz)."},
        outputs=TRAINED,
    ).main()
