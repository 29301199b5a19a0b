"""Train one arm's network on pairs of images: of random particles (corrected), or from noisy stacks (published)."""

from dataclasses import asdict, fields

from pydantic import Field

from workflow_scripts.alignment.networks import tasks
from workflow_scripts.alignment.networks.model import describe_network, make_network
from workflow_scripts.alignment.settings import VARIANTS, MicroscopeSettings, Pretrain, VariantName
from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage and of its training images, the arm, and the device."""

    microscope: MicroscopeSettings = Field(description="Contrast transfer of the corrected arm's training images.")
    largest_shift_px: int = Field(ge=0, description="Largest shift along y and along x in these images, px.")
    variant: VariantName = Field(description="Arm of the study: published or corrected.")
    seed: int = Field(ge=0, description="Seed of the initial weights, of shuffles, poses and noise.")


def pretrain(job: Job[Arguments]) -> None:
    """Write the weights with the smallest validation loss, and the history."""
    arguments = job.arguments
    variant = VARIANTS[arguments.variant]
    names = {field.name for field in fields(tasks.Augmentation)}
    augmentation = tasks.Augmentation(**arguments.model_dump(include=names))
    settings, pairs = arguments.network, arguments.pairs
    network = make_network(settings, variant, arguments.seed)
    if variant.noise_rotates_along:
        files = zip(job.inputs["stars"], job.inputs["stacks"], strict=True)
        stacks = [noisy.read() for star, stack in files for noisy in tasks.noisy_stacks(star, stack)]
    else:
        particles, microscope = tasks.random_particles(job.inputs["centres"]), arguments.microscope
    with training_device(job) as device:
        if variant.noise_rotates_along:
            count = arguments.validation_pairs
            task = tasks.DisturbanceTask(stacks, variant, count, False, settings.recipe_px, pairs, device)
        else:
            task = tasks.FreshNoiseTask(*particles, microscope, augmentation, settings.rings, pairs, device)
        trained = train_for(job, network, task, device, f"pretraining {arguments.variant}")
    about = describe_network(arguments.network, arguments.variant) | {"lesson": asdict(augmentation)}
    write_trained(job, trained.best, trained.history, about)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={
            "stacks": "Noisy stacks of the stage synthesize (.mrcs).",
            "stars": "Lists of these images (.star); their poses are not read.",
            "centres": "Noise-free images of random particles, of the stage synthesize (.mrcs).",
        },
        outputs=TRAINED,
    ).main()
