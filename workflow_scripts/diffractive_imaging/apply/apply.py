"""The phase image of the user's scan, by the network that was trained for its probe and adapted to it."""

import sys

import numpy as np
from pydantic import Field

from workflow_scripts.diffractive_imaging.apply.data import SCAN_NAME
from workflow_scripts.diffractive_imaging.apply.phase_image import (
    PhaseImage,
    correlation,
    phase_image,
    reduced_chi2,
    write_h5,
    write_preview,
    write_tiff,
)
from workflow_scripts.diffractive_imaging.estimators import ptychography
from workflow_scripts.diffractive_imaging.networks.reconstruction import load_estimate
from workflow_scripts.diffractive_imaging.settings import VARIANTS, Predict
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, read_scan
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_json, write_json
from workflow_scripts.workflow.settings import Compute


class Arguments(Predict, Compute):
    """The settings of the estimators, and on what they run."""

    name: str = Field(description="Name of the scan in the configuration.")


def apply(job: Job[Arguments]) -> None:
    """Write the image in three formats, and how well it explains the patterns before and after finetuning.

    The weights are those of the stage whose image explains the patterns better. Whatever the patterns contradict is
    named in a sentence on standard error and in the report; ptychography that fails on held-out patterns is left out.

    Raises:
        InputError: neither the network nor ptychography explains the patterns.
    """
    arguments, report = job.arguments, read_json(job.input("report"))
    light = Illumination.read(job.input("scan"))
    scan = read_scan(job.input("scan"), SCAN_NAME, light.dose_e).along_object()
    images: dict[str, PhaseImage] = {}
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        for stage in ("pretrained", "finetuned"):
            estimate = load_estimate(
                job.input(stage), light, VARIANTS["corrected"], device, arguments, arguments.network.batch_size
            )
            images[stage] = phase_image(estimate(scan.counts, light.dose_e), scan, light)
        classical = ptychography.reconstruct(
            scan.counts, scan.positions_px, light, light.dose_e, arguments.ptychography, seed=0, device=device
        )
    chi2 = {stage: float(stitched.chi2_per_pattern.mean()) for stage, stitched in images.items()}
    stage = min(reversed(chi2), key=chi2.get)  # of equal ones the finetuned
    image = images[stage]
    doubts = [sentence for sentence in (image.doubt, classical.refusal) if sentence]
    if len(doubts) == 2:
        raise InputError("; ".join(doubts))
    for sentence in doubts:
        print(f"warning: {sentence}", file=sys.stderr)
    ptychography_rad = None
    if not classical.refusal:
        ptychography_rad = classical.image.to_object_pixels().numpy().astype(np.float32)
    orientation = report["orientation"]
    write_h5(
        job.outputs["h5"],
        image,
        ptychography_rad,
        {
            "name": arguments.name,
            "axes": "y, x along the detector's, after its transposition where it is transposed",
            "scan_rotation_deg": orientation["rotation_deg"],
            "detector_transposed": orientation["detector_transposed"],
        },
    )
    write_tiff(job.outputs["tiff"], image)
    write_preview(job.outputs["png"], image, ptychography_rad)
    quality = {
        "chi2_without_object": image.chi2_without_object,
        **{f"chi2_{name}": value for name, value in chi2.items()},
        "chi2_ptychography": float(reduced_chi2(classical.image, scan, light).mean()),
        "misfit_ptychography": classical.misfit,
        "doubts": doubts,
        "weights": stage,
        "correlation_with_ptychography": (
            None if ptychography_rad is None else correlation(image.phase_rad, ptychography_rad)
        ),
        "phase_std_rad": float(np.nanstd(image.phase_rad)),
        "uncertainty_median_rad": float(np.nanmedian(image.uncertainty_rad)),
    }
    write_json(job.outputs["quality"], report | {"quality": quality})


if __name__ == "__main__":
    Command(
        apply,
        Arguments,
        inputs={
            "scan": "The checked scan (.npz).",
            "report": "The report on it (.json).",
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
        },
        outputs={
            "h5": "Phase, uncertainty and χ² (.h5).",
            "tiff": "The phase (.tif).",
            "png": "A preview (.png).",
            "quality": "The report on the scan, and χ² of the image (.json).",
        },
    ).main()
