"""Phase patches of the test set and stitched images of the scans, by a network or by ridge regression."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from workflow_scripts.diffractive_imaging.datasets import Illumination, read_scan, scan_names
from workflow_scripts.diffractive_imaging.estimators import Estimator, NetworkEstimator, RidgeEstimator
from workflow_scripts.diffractive_imaging.forward import patch_mask
from workflow_scripts.diffractive_imaging.reconstruction import oriented, stitch
from workflow_scripts.diffractive_imaging.settings import Predict
from workflow_scripts.diffractive_imaging.variants import VARIANTS, Variant
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, write_arrays
from workflow_scripts.workflow.settings import Compute


class Arguments(Predict, Compute):
    """The settings of the stage, the estimator, and on what it runs."""

    estimator: Literal["published", "corrected", "ridge"] = Field(
        description="An arm of the study (needs --pretrained and --finetuned) or ridge (needs --shards)."
    )
    seed: int = Field(ge=0, description="Training seed of the weights; also shuffles the published stitching.")


def predict(job: Job[Arguments]) -> None:
    """Write the patches of the test set and the images of the scans."""
    arguments = job.arguments
    test = job.input("test")
    light = Illumination.read(test)
    mask = patch_mask(light.probe)
    # Ridge is a fair baseline: its scans are oriented and stitched as ours are.
    variant = VARIANTS["corrected" if arguments.estimator == "ridge" else arguments.estimator]
    found = read_arrays(test, ["counts", "test_dose_e"])
    doses = found["test_dose_e"].tolist()
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        arrays: dict[str, np.ndarray] = {}
        stages = []
        for stage, estimator in _estimators(job, light, variant, device):
            stages.append(stage)
            patches = [
                [
                    estimator(torch.from_numpy(part), dose)[:, mask].numpy()
                    for part, dose in zip(parts, doses, strict=True)
                ]
                for parts in found["counts"]
            ]
            arrays[f"{stage}.patches_rad"] = np.array(patches)  # (S, D, M, pixels of the mask)
            for name in scan_names(test):
                scan = read_scan(test, name)
                counts = oriented(scan.counts, scan.detector_transposed, variant)
                image = stitch(estimator(counts, light.dose_e), scan.positions_px, light, variant, arguments.seed)
                arrays[f"{stage}.{name}.image_rad"] = image.to_object_pixels().numpy().astype(np.float32)
                arrays[f"{stage}.{name}.origin_px"] = np.array(image.origin)
    about = {"estimator": arguments.estimator, "seed": arguments.seed, "stages": stages}
    write_arrays(job.outputs["predictions"], arrays | about)


def _estimators(
    job: Job[Arguments], light: Illumination, variant: Variant, device: torch.device
) -> Iterator[tuple[str, Estimator]]:
    """Yield what is to be predicted with, and the name of its stage."""
    arguments = job.arguments
    needed = {"ridge": ["shards"]}.get(arguments.estimator, ["pretrained", "finetuned"])
    for name in needed:
        if name not in job.inputs:
            raise InputError(f"--estimator {arguments.estimator} needs --{name}, which is missing")
    if arguments.estimator == "ridge":
        yield "fitted", RidgeEstimator(job.inputs["shards"], light)
    else:
        for name in needed:
            weights = job.input(name)
            yield name, NetworkEstimator(weights, light, variant, device, arguments.precision, arguments.batch_size)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Patches and images (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz), for ridge.",
        },
    ).main()
