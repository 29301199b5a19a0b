"""The log flat field of the test tiles, by a network or by a classical estimator."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from workflow_scripts.background.estimators import CLASSICAL, TILES, answers, any_partner, nearest_in_order
from workflow_scripts.background.model import load_network
from workflow_scripts.background.network_estimator import NetworkEstimator, Sampling
from workflow_scripts.background.settings import Predict
from workflow_scripts.background.tile_files import RawTiles, read_tiles
from workflow_scripts.background.variants import ARMS, UNET
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import Compute

STAGES = "pretrained", "finetuned"


class Arguments(Predict, Compute):
    """The settings of the stage, the estimator, and on what it runs."""

    estimator: Literal[*ARMS, *CLASSICAL] = Field(
        description="An arm of the study (needs --pretrained and --finetuned), or a classical estimator."
    )
    training_seed: int = Field(ge=0, description="Training seed of the weights; of a classical estimator 0.")


def predict(job: Job[Arguments]) -> None:
    """Write the answers for all test tiles, of the last stage also from 4 and 16; of a few by each number of steps."""
    arguments = job.arguments
    name = arguments.estimator
    tiles = read_tiles(job.input("test"))
    if name in CLASSICAL:
        arrays, stages = {f"fitted.{key}": found for key, found in CLASSICAL[name](tiles).items()}, ["fitted"]
    else:
        for needed in STAGES:
            if needed not in job.inputs:
                raise InputError(f"--estimator {name} needs --{needed}, which is missing")
        with leased_device(arguments.gpus) as device:
            job.device = str(device)
            arrays, stages = _of_networks(job, tiles, device), list(STAGES)
    about = {"estimator": name, "seed": arguments.training_seed, "stages": stages}
    write_arrays(job.outputs["predictions"], arrays | about)


def _of_networks(job: Job[Arguments], tiles: RawTiles, device: torch.device) -> dict[str, np.ndarray]:
    arguments = job.arguments
    name, variant, n_tiles = arguments.estimator, ARMS[arguments.estimator], tiles.counts.shape[1]
    rest = arguments.samples, arguments.batch_size, arguments.seed, device, arguments.precision
    arrays = {}
    for stage in STAGES:
        network, about = load_network(job.input(stage), name)
        estimator = NetworkEstimator(network, name, about["side_px"], Sampling(arguments.steps, *rest))
        for size in TILES if stage == STAGES[-1] and not variant.partner_unsorted else TILES[:1]:
            near = nearest_in_order(n_tiles, size)
            neighbours = any_partner(n_tiles, arguments.seed) if variant.partner_unsorted else near
            flats, spreads = answers(estimator, tiles, neighbours)
            arrays[f"{stage}.n{size}.log_flat"] = flats
            if not variant.one_sample and name != UNET:
                arrays[f"{stage}.n{size}.spread"] = spreads
    if not variant.one_sample and name != UNET:
        arrays["curve.steps"] = np.array(arguments.curve_steps)
        chosen = np.linspace(0, n_tiles - 1, min(n_tiles, arguments.curve_tiles)).round().astype(int)
        arrays["curve.tiles"] = chosen
        near, flats = nearest_in_order(n_tiles, TILES[0]), []
        for steps in arguments.curve_steps:
            estimator = NetworkEstimator(network, name, about["side_px"], Sampling(steps, *rest))
            flats.append(answers(estimator, tiles, near, chosen)[0])
        arrays["curve.log_flat"] = np.stack(flats)
    return arrays


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Log flat fields (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
        },
    ).main()
