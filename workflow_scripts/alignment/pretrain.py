"""Train one arm's network on pairs of images: the corrected arm on random particles, the published on noisy stacks."""

from dataclasses import asdict

from pydantic import Field

from workflow_scripts.alignment.networks.model import describe_network, make_network
from workflow_scripts.alignment.networks.tasks import DisturbanceTask, FreshNoiseTask, Lesson
from workflow_scripts.alignment.networks.training_data import noisy_stacks, random_particles
from workflow_scripts.alignment.settings import MicroscopeSettings, Pretrain, VariantName
from workflow_scripts.alignment.simulation.datasets import microscope_of
from workflow_scripts.alignment.variants import VARIANTS
from workflow_scripts.learning.stages import train_for, training_device, write_trained
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage, how the training images are made, the arm, and on what it runs."""

    microscope: MicroscopeSettings = Field(description="Contrast transfer of the corrected arm's training images.")
    largest_shift_px: int = Field(ge=0, description="Their largest shift along y and along x, px.")
    variant: VariantName = Field(description="Arm of the study: published or corrected.")
    seed: int = Field(ge=0, description="Seed of the network's first weights, of shuffles, poses and noise.")


def pretrain(job: Job[Arguments]) -> None:
    """Write the weights that validate best and the history."""
    arguments = job.arguments
    variant = VARIANTS[arguments.variant]
    lesson = Lesson(
        arguments.snr_min,
        arguments.snr_max,
        arguments.coloured_share,
        arguments.validation_pairs,
        arguments.largest_shift_px,
    )
    with training_device(job) as device:
        if variant.noise_turns_along:
            stacks = noisy_stacks(job.inputs["stars"])
            side_px = arguments.network.recipe_px
            task = DisturbanceTask(stacks, variant, arguments.validation_pairs, False, side_px, arguments.pairs, device)
        else:
            task = FreshNoiseTask(
                *random_particles(job.inputs["centres"]),
                microscope_of(arguments.microscope),
                lesson,
                arguments.network.rings,
                arguments.pairs,
                device,
            )
        trained = train_for(
            job,
            make_network(arguments.network, variant, arguments.seed),
            task,
            device,
            f"pretraining {arguments.variant}",
        )
    about = describe_network(arguments.network, arguments.variant) | {"lesson": asdict(lesson)}
    write_trained(job, trained.best, trained.history, about)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={
            "stacks": "Noisy stacks of the stage synthesize (.mrcs), beside their lists.",
            "stars": "Their lists (.star), of which the poses are not looked at.",
            "centres": "Random particles without noise, of the stage synthesize (.mrcs).",
        },
        outputs={
            "weights": "The weights that validate best (.safetensors).",
            "history": "Losses of every epoch (.csv).",
        },
    ).main()
