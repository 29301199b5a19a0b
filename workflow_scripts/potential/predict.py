"""The potentials of the test samples at every dose, by a network or by a classical estimator."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.potential.counting import NOISE_FREE
from workflow_scripts.potential.estimators import (
    BASELINES,
    Estimator,
    TrainingFiles,
    predictions_of,
    with_shuffled_metadata,
)
from workflow_scripts.potential.network_estimator import NetworkEstimator
from workflow_scripts.potential.samples import MATCHED, RING, read_samples
from workflow_scripts.potential.settings import Predict, material_name
from workflow_scripts.potential.variants import ABLATIONS, ARMS
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import Compute

NEEDED = {arm: ("pretrained",) if ARMS[arm].without_finetune else ("pretrained", "finetuned") for arm in ARMS}
NEEDED |= dict.fromkeys(ABLATIONS, ("pretrained",)) | dict.fromkeys(BASELINES, ("shards",))


class Arguments(Predict, Compute):
    """The settings of the stage, the estimator, and on what it runs."""

    estimator: Literal[*ARMS, *BASELINES] = Field(
        description="An arm of the study (needs --pretrained and, where it is finetuned, --finetuned), or a baseline"
        " (needs --shards)."
    )
    training_seed: int = Field(ge=0, description="Training seed of the weights; of a baseline 0.")
    held_out_material: str = Field(description="The material that no baseline is fitted on.")


def predict(job: Job[Arguments]) -> None:
    """Write the potentials of all test samples, at all doses and without noise, by all detectors the estimator knows.

    Networks with a single fault answer by the recipe's ring alone, and to counts alone.
    """
    arguments = job.arguments
    name = arguments.estimator
    for needed in NEEDED[name]:
        if needed not in job.inputs:
            raise InputError(f"--estimator {name} needs --{needed}, which is missing")
    samples = read_samples([job.input("test")])
    ring_alone = name in ABLATIONS or (name in ARMS and ARMS[name].one_detector)
    detectors = [RING] if ring_alone else [RING, MATCHED]
    counted = list(arguments.dose_e_per_a2)
    doses = counted if name in ABLATIONS else [*counted, NOISE_FREE]
    arrays: dict[str, np.ndarray] = {}
    stages = []
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        for stage, estimator in _estimators(job, device):
            stages.append(stage)
            for detector in detectors:
                rest = detector, doses, arguments.seed
                arrays[f"{stage}.{detector}.potential"] = predictions_of(estimator, samples, *rest)
                if name in ARMS and name not in ABLATIONS:
                    labels = with_shuffled_metadata(samples, arguments.seed)
                    rest = detector, counted, arguments.seed
                    arrays[f"{stage}.{detector}.shuffled"] = predictions_of(estimator, samples, *rest, labels)
    about = {
        "estimator": name,
        "seed": arguments.training_seed,
        "stages": stages,
        "detectors": detectors,
        "dose_e_per_a2": np.array(doses),
        "counted_dose_e_per_a2": np.array(counted),
        "count_seed": arguments.seed,
    }
    write_arrays(job.outputs["predictions"], arrays | about)


def _estimators(job: Job[Arguments], device: torch.device) -> Iterator[tuple[str, Estimator]]:
    """Yield the name of each stage and who answers."""
    arguments = job.arguments
    if arguments.estimator in BASELINES:
        training = TrainingFiles(job.inputs["shards"], material_name(arguments.held_out_material))
        yield "fitted", BASELINES[arguments.estimator](training, arguments.ridge_kernel_px, arguments.seed)
        return
    rest = max(arguments.dose_e_per_a2), device, arguments.precision, arguments.batch_size
    for stage in NEEDED[arguments.estimator]:
        yield stage, NetworkEstimator(job.input(stage), ARMS[arguments.estimator], *rest)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Potentials (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz), for the baselines.",
        },
    ).main()
