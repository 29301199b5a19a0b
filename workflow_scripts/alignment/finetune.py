"""Train one arm's network on the stacks that it will align, without their poses.

Corrected: the joint average of each stack is added to the random particles. Published: every image is paired with the
first of its stack, and the reconstruction error of an autoencoder is added to the loss.
"""

from pydantic import Field

from workflow_scripts.alignment.networks import tasks
from workflow_scripts.alignment.networks.model import load_network
from workflow_scripts.alignment.settings import VARIANTS, Finetune, MicroscopeSettings, VariantName
from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, contrast transfer, the arm, and the device."""

    microscope: MicroscopeSettings = Field(description="Contrast transfer of the corrected arm's training images.")
    variant: VariantName = Field(description="Arm of the study: published or corrected.")
    seed: int = Field(ge=0, description="Seed of shuffles, poses and noise.")


def finetune(job: Job[Arguments]) -> None:
    """Write the finetuned weights and the history."""
    arguments = job.arguments
    variant = VARIANTS[arguments.variant]
    about = read_metadata(job.input("pretrained"))
    network, _ = load_network(job.input("pretrained"))
    augmentation, pairs = tasks.Augmentation(**about["lesson"]), arguments.pairs
    stacks = tasks.noisy_stacks(job.input("star"), job.input("stack"))
    if variant.noise_rotates_along:
        images = [stack.read() for stack in stacks]
    else:
        particles, validation = tasks.random_particles(job.inputs["centres"])
    with training_device(job) as device:
        network.to(device)
        if variant.noise_rotates_along:
            count = augmentation.validation_pairs
            task = tasks.DisturbanceTask(images, variant, count, True, network.side_px, pairs, device)
        else:
            averages = tasks.stack_averages(stacks, network, arguments.rounds, device)
            # Repeated so that about half of the particles drawn are averages of the stacks
            particles = particles + averages * max(1, len(particles) // len(averages))
            microscope, rings = arguments.microscope, network.rings
            task = tasks.FreshNoiseTask(particles, validation, microscope, augmentation, rings, pairs, device)
        trained = train_for(job, network, task, device, f"finetuning {arguments.variant}")
    write_trained(job, trained.last, trained.history, about)


if __name__ == "__main__":
    Command(
        finetune,
        Arguments,
        inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "centres": "Noise-free images of random particles, of the stage synthesize (.mrcs).",
            "stack": "The stacks to align (.mrcs).",
            "star": "List of their images (.star); its poses are not read.",
        },
        outputs=TRAINED,
    ).main()
