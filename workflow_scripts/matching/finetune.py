"""Train one arm's two encoders on pairs of an observed and a calculated pattern."""

from typing import Literal

import torch
from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.learning.distributed import process_group, relaunch_under_torchrun
from workflow_scripts.learning.training import HISTORY, train
from workflow_scripts.learning.weights import read_metadata, save_weights
from workflow_scripts.matching.model import load_matcher
from workflow_scripts.matching.pattern_files import read_pairs
from workflow_scripts.matching.settings import Finetune
from workflow_scripts.matching.tasks import FinetuneTask, Lesson, Observer, split_by_cells
from workflow_scripts.matching.variants import ARMS, LOSSES, SHORT
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_rows
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(description="Arm of the study, or of its ablation.")
    seed: int = Field(ge=0, description="Seed of shuffles, counts and random directions.")


def finetune(job: Job[Arguments]) -> None:
    """Write the weights that validate best and the history."""
    arguments = job.arguments
    relaunch_under_torchrun(arguments.gpus)
    variant = ARMS[arguments.variant]
    epochs = arguments.ablation_epochs if arguments.variant in SHORT else arguments.epochs
    losses = arguments.loss.model_copy(update=LOSSES.get(arguments.variant, {}))
    about = read_metadata(job.input("pretrained"))
    with leased_device(arguments.gpus) as device, process_group(device):
        job.device = str(device)
        matcher = load_matcher(job.input("pretrained"))
        pairs = read_pairs(job.inputs["shards"])
        split = split_by_cells(torch.from_numpy(pairs.rotation), arguments.validation_pairs)
        observer = Observer(pairs, variant, Lesson(**about["lesson"]), device)
        trained = train(
            matcher,
            FinetuneTask(observer, variant, losses, matcher.observed.encode, split, arguments.pairs),
            arguments.model_copy(update={"epochs": epochs}),
            seed=arguments.seed,
            device=device,
            precision=arguments.precision,
            checkpoint_folder=job.checkpoint_folder,
            label=f"finetuning {arguments.variant}",
        )
    save_weights(trained.best, job.outputs["weights"], about | {"arm": arguments.variant})
    write_rows(job.outputs["history"], trained.history, HISTORY)


if __name__ == "__main__":
    Command(
        finetune,
        Arguments,
        inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        outputs={
            "weights": "The weights that validate best (.safetensors).",
            "history": "Losses of every epoch (.csv).",
        },
    ).main()
