"""Estimate poses of the user's particles by the corrected arm's network and a baseline; align and average them."""

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from workflow_scripts.alignment.apply.alignment import align_particles, align_sample
from workflow_scripts.alignment.apply.data import open_user_particles, read_reference
from workflow_scripts.alignment.apply.output import write_aligned, write_lists, write_picture
from workflow_scripts.alignment.apply.settings import Apply
from workflow_scripts.alignment.apply.streaming import Encode, options_for
from workflow_scripts.alignment.networks.model import CorrelationNetwork, load_network
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra
from workflow_scripts.alignment.networks.tasks import features_of
from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_json, write_json
from workflow_scripts.workflow.settings import Compute


class Arguments(Apply, Compute):
    """The entry of the configuration, and settings of the alignment."""

    name: str = Field(description="Name of the entry in the configuration.")
    box_px: int = Field(ge=36, le=1024, description="Side of the network's box, to which images are resampled, px.")
    batch_size: int = Field(ge=1, description="Images that are processed at once.")
    rounds: int = Field(ge=1, description="Largest number of rounds of averaging and aligning.")


def apply(job: Job[Arguments]) -> None:
    """Write the aligned stack, lists, average and picture, and the validation of the poses."""
    arguments, report = job.arguments, read_json(job.input("report"))
    sign = 1 if report["contrast"]["found"] == "bright" else -1
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        user, _ = open_user_particles(arguments, job.input("particles_file"), arguments.box_px, device, sign)
        references = [read_reference(arguments, path, user) for path in job.inputs.get("reference_file", [])]
        results = {}
        for estimator, encode in _encodings(job.input("weights"), arguments.batch_size, device).items():
            options = options_for(user, encode, arguments.symmetry_fold, arguments.rounds, arguments.batch_size)
            results[estimator] = align_sample(user, options) if results else align_particles(user, options, *references)
        recommended, result = next(iter(results.items()))
        write_aligned(job.outputs["stack"], user, result, arguments.batch_size)
        write_picture(job.outputs["png"], user, results, arguments.batch_size)
    write_lists(job.outputs["star"], job.outputs["xmd"], user, result)
    with StackWriter(job.outputs["average"], user.particles.box_px, user.particles.pixel_size_a) as writer:
        writer.write(result.average[None])
    reports = {name: other.quality(user.particles.pixel_size_a) for name, other in results.items()}
    for name in list(results)[1:]:
        reports[name] |= result.agreement(results[name], 360 / arguments.symmetry_fold)
    quality = {
        "estimator": recommended,
        "estimators": reports,
        "halves_share_a_reference": bool(references),
        "share_at_largest_shift": result.share_at_largest_shift(user.largest_shift_px),
    }
    write_json(job.outputs["quality"], report | {"name": arguments.name, "quality": quality})


def _encodings(weights: Path, batch_size: int, device: torch.device) -> dict[str, Encode]:
    """The functions from images to polar rows by estimator, first that of the network (see `streaming.Encode`).

    Args:
        weights: of the stage finetune, corrected arm.
        batch_size: images per forward pass.
        device: where the network runs.

    Raises:
        InputError: these are not weights of the corrected arm.
    """
    network, arm = load_network(weights)
    if not isinstance(network, CorrelationNetwork):
        raise InputError(f"{weights}: these weights are of the arm {arm}, expected the corrected one")
    network.to(device)

    @torch.no_grad()
    def learned(images: Tensor) -> Tensor:
        return features_of(network, images, batch_size)

    return {arm: learned, "polar_joint": amplitude_spectra}


if __name__ == "__main__":
    Command(
        apply,
        Arguments,
        inputs={
            "particles_file": "The stack (.mrcs), or the list of images (.star, .xmd).",
            "report": "The report of check.py on these files (.json).",
            "weights": "Weights of the stage finetune, corrected arm (.safetensors).",
        },
        outputs={
            "stack": "The aligned stack (.mrcs).",
            "star": "The poses for RELION (.star).",
            "xmd": "The poses for Xmipp (.xmd).",
            "average": "The average of the aligned particles (.mrc).",
            "png": "Particles and averages before and after alignment (.png).",
            "quality": "The report on the files and on the alignment (.json).",
        },
        optional_inputs={
            "stack_files": "The stacks that the list names.",
            "reference_file": "The initial reference (.mrc, .png, .tif).",
        },
    ).main()
