"""Show one arm's network the stacks that it is to align, without any pose.

Corrected: each stack's own joint average joins the random particles. Published: every image is paired with the first of
its stack, and an autoencoder joins the loss.
"""

from pydantic import Field

from workflow_scripts.alignment.networks.model import load_network
from workflow_scripts.alignment.networks.tasks import DisturbanceTask, FreshNoiseTask, Lesson
from workflow_scripts.alignment.networks.training_data import own_averages, random_particles, stack_images
from workflow_scripts.alignment.settings import Finetune, MicroscopeSettings, VariantName
from workflow_scripts.alignment.simulation.datasets import microscope_of
from workflow_scripts.alignment.variants import VARIANTS
from workflow_scripts.learning.stages import train_for, training_device, write_trained
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, contrast transfer, the arm, and on what it runs."""

    microscope: MicroscopeSettings = Field(description="Contrast transfer of the corrected arm's training images.")
    variant: VariantName = Field(description="Arm of the study: published or corrected.")
    seed: int = Field(ge=0, description="Seed of shuffles, poses and noise.")


def finetune(job: Job[Arguments]) -> None:
    """Write the adapted weights and the history."""
    arguments = job.arguments
    variant = VARIANTS[arguments.variant]
    about = read_metadata(job.input("pretrained"))
    network, _ = load_network(job.input("pretrained"))
    lesson = Lesson(**about["lesson"])
    test = job.input("star"), job.input("stack")
    with training_device(job) as device:
        network.to(device)
        if variant.noise_turns_along:
            task = DisturbanceTask(
                stack_images(*test), variant, lesson.validation_pairs, True, network.side_px, arguments.pairs, device
            )
        else:
            training, validation = random_particles(job.inputs["centres"])
            averages = own_averages(*test, network, arguments.rounds, device)
            # Half of the particles drawn are the stacks' own
            own = averages * max(1, len(training) // len(averages))
            task = FreshNoiseTask(
                [*training, *own],
                validation,
                microscope_of(arguments.microscope),
                lesson,
                network.rings,
                arguments.pairs,
                device,
            )
        trained = train_for(job, network, task, device, f"finetuning {arguments.variant}")
    write_trained(job, trained.last, trained.history, about)


if __name__ == "__main__":
    Command(
        finetune,
        Arguments,
        inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "centres": "Random particles without noise, of the stage synthesize (.mrcs).",
            "stack": "The stacks to align (.mrcs).",
            "star": "Their list (.star), of which the poses are not looked at.",
        },
        outputs={"weights": "The adapted weights (.safetensors).", "history": "Losses of every epoch (.csv)."},
    ).main()
