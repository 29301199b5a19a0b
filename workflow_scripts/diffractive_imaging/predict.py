"""Phase patches of the test set and images of the scans, by a network or by a classical estimator."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from workflow_scripts.diffractive_imaging.datasets import Illumination
from workflow_scripts.diffractive_imaging.estimators import (
    CenterOfMassImager,
    Estimator,
    Imager,
    NetworkEstimator,
    PatchImager,
    PtychographyImager,
    RidgeEstimator,
    patches_of,
)
from workflow_scripts.diffractive_imaging.imaging import images_of, perturbed_images, predict_ablation
from workflow_scripts.diffractive_imaging.settings import Predict
from workflow_scripts.diffractive_imaging.variants import ABLATIONS, ARMS, Variant
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, write_arrays
from workflow_scripts.workflow.settings import Compute

NEEDED = dict.fromkeys(("published", "corrected"), ("pretrained", "finetuned"))
NEEDED |= {"ridge": ("shards",), **dict.fromkeys(ABLATIONS, ("pretrained",))}


class Arguments(Predict, Compute):
    """The settings of the stage, the estimator, and on what it runs."""

    estimator: Literal[*ARMS, "ridge", "dpc", "ptychography"] = Field(
        description="An arm of the study (needs --pretrained and, where it is finetuned, --finetuned), ridge (needs"
        " --shards), dpc or ptychography."
    )
    seed: int = Field(
        ge=0,
        description="Training seed of the weights; also shuffles the published stitching and ptychography's patterns.",
    )


def predict(job: Job[Arguments]) -> None:
    """Write the patches of the test set and the images of the scans at all doses."""
    arguments = job.arguments
    for name in NEEDED.get(arguments.estimator, ()):
        if name not in job.inputs:
            raise InputError(f"--estimator {arguments.estimator} needs --{name}, which is missing")
    test = job.input("test")
    light = Illumination.read(test)
    # Baselines are fair: their scans are oriented as ours are, and ridge is stitched as ours is.
    variant = ARMS.get(arguments.estimator, ARMS["corrected"])
    doses = read_arrays(test, ["test_dose_e"])["test_dose_e"].tolist()
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        if fault := ABLATIONS.get(arguments.estimator):
            options = device, arguments.precision, arguments.batch_size
            alone = predict_ablation(test, job.input("pretrained"), fault, arguments.seed, *options)
            return write_arrays(job.outputs["predictions"], alone)
        arrays: dict[str, np.ndarray] = {}
        stages = []
        for stage, estimator, imager in _estimators(job, light, variant, device):
            stages.append(stage)
            if estimator:
                arrays[f"{stage}.patches_rad"] = patches_of(
                    estimator, read_arrays(test, ["counts"])["counts"], doses, light
                )
            arrays |= images_of(imager, stage, test, doses, variant)
            arrays |= perturbed_images(imager, arguments.estimator, stage, test, variant)
            has_spread = imager.has_spread
    about = {
        "estimator": arguments.estimator,
        "seed": arguments.seed,
        "stages": stages,
        "has_spread": np.bool_(has_spread),
    }
    write_arrays(job.outputs["predictions"], arrays | about)


def _estimators(
    job: Job[Arguments], light: Illumination, variant: Variant, device: torch.device
) -> Iterator[tuple[str, Estimator | None, Imager]]:
    """Yield the name of each stage, what predicts patches, where there are such, and what makes images."""
    arguments = job.arguments
    if arguments.estimator == "dpc":
        yield "imaged", None, CenterOfMassImager(light)
    elif arguments.estimator == "ptychography":
        yield "imaged", None, PtychographyImager(light, arguments.ptychography, arguments.seed, device)
    elif arguments.estimator == "ridge":
        ridge = RidgeEstimator(job.inputs["shards"], light)
        yield "fitted", ridge, PatchImager(ridge, light, variant, arguments.seed)
    else:
        # Without finetuning the two weights are the same.
        for name in NEEDED[arguments.estimator][: 1 if variant.without_finetune else 2]:
            network = NetworkEstimator(
                job.input(name), light, variant, device, arguments.precision, arguments.batch_size
            )
            yield name, network, PatchImager(network, light, variant, arguments.seed)


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
