"""Adapt one arm's network to the measured patterns of the scans, without any truth.

The published recipe has no such stage: its arm copies the pretrained weights.
"""

from pydantic import Field

from workflow_scripts.diffractive_imaging.networks.imaging import oriented, stitch
from workflow_scripts.diffractive_imaging.networks.reconstruction import estimate_patches, load_network
from workflow_scripts.diffractive_imaging.networks.scan_task import ScanTask
from workflow_scripts.diffractive_imaging.settings import VARIANTS, Finetune, VariantName
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, read_scan, scan_names
from workflow_scripts.learning.stages import TRAINED, copy_weights, train_for, training_device, write_trained
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: VariantName = Field(description="Arm of the study: published or corrected.")
    seed: int = Field(ge=0, description="Seed of the validation patterns and of the shuffles.")


def finetune(job: Job[Arguments]) -> None:
    """Write the adapted weights and the history."""
    arguments = job.arguments
    variant = VARIANTS[arguments.variant]
    if variant.without_finetune:
        copy_weights(job)
        return
    light = Illumination.read(job.input("measured"))
    network = load_network(job.input("pretrained"))
    with training_device(job) as device:
        scans = []
        for name in scan_names(job.input("measured")):
            scan = read_scan(job.input("measured"), name, light.dose_e)
            counts = oriented(scan, variant)
            patches = estimate_patches(
                network, light, variant, device, arguments.precision, arguments.batch_size, counts, light.dose_e
            )
            image = stitch(patches, scan.positions_px, light, variant, arguments.seed)
            scans.append((image, counts, scan.positions_px))
        trained = train_for(
            job,
            network,
            ScanTask(scans, light, arguments.validation_share, arguments.seed, device),
            device,
            f"finetuning {arguments.variant}",
        )
    write_trained(job, trained.best, trained.history, read_metadata(job.input("pretrained")))


if __name__ == "__main__":
    Command(
        finetune,
        Arguments,
        inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "measured": "Test file of the stage synthesize (.npz); only what a microscope would record is read.",
        },
        outputs=TRAINED,
    ).main()
