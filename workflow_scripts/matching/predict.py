"""The best orientations of all test queries, by a network or by a classical estimator."""

from typing import Literal, get_args

import torch
from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.matching.estimators import answers, baseline, chance, of_weights
from workflow_scripts.matching.model import load_matcher
from workflow_scripts.matching.pattern_files import STAGES, read_pairs, read_queries
from workflow_scripts.matching.settings import BaselineName, NetworkSettings, Predict
from workflow_scripts.matching.variants import ARMS
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import Compute

BASELINES = get_args(BaselineName)


class Arguments(Predict, Compute):
    """The settings of the stage, the estimator, and on what it runs."""

    estimator: Literal[*ARMS, *BASELINES] = Field(
        description="An arm (needs --pretrained and --finetuned), or a baseline (needs --shards)."
    )
    training_seed: int = Field(ge=0, description="Training seed of the weights; of a baseline 0.")
    network: NetworkSettings = Field(description="The networks; the baseline untrained is the corrected arm's.")


def predict(job: Job[Arguments]) -> None:
    """Write the best orientations of all queries after every stage.

    Raises:
        InputError: a file that the estimator needs is not given.
    """
    arguments, name = job.arguments, job.arguments.estimator
    for needed in ("shards",) if name in BASELINES else STAGES:
        if needed not in job.inputs:
            raise InputError(f"--estimator {name} needs --{needed}, which is missing")
    queries = read_queries(job.input("test"))
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        gallery = torch.from_numpy(queries.gallery).to(device)
        how = arguments.batch_size, arguments.candidates, device
        if name == "chance":
            found = {"fitted": chance(queries, arguments.candidates, arguments.training_seed)}
        elif name in BASELINES:
            estimator = baseline(name, gallery, read_pairs(job.inputs["shards"]), arguments.network, device)
            found = {"fitted": answers(estimator, queries, *how)}
        else:
            found = {}
            for stage in STAGES:
                matcher, last = load_matcher(job.input(stage)), stage == "finetuned"
                estimator = of_weights(matcher, ARMS[name], last, gallery, device, arguments.precision)
                found[stage] = answers(estimator, queries, *how)
    about = {"estimator": name, "seed": arguments.training_seed, "stages": list(found)}
    arrays = {f"{stage}.{what}": array for stage, parts in found.items() for what, array in parts.items()}
    write_arrays(job.outputs["predictions"], arrays | about)


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Orientations and scores (.npz)."},
        optional_inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "finetuned": "Weights of the stage finetune (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz), for the baselines.",
        },
    ).main()
