"""Train one arm's two encoders on pairs of an observed and a calculated pattern."""

from typing import Literal

from pydantic import Field

from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.learning.weights import read_metadata
from workflow_scripts.matching.networks.model import load_matcher
from workflow_scripts.matching.networks.tasks import Augmentation, FinetuneTask, Observer
from workflow_scripts.matching.settings import ARMS, LOSSES, SHORT, Finetune
from workflow_scripts.matching.simulation.pairs import read_pairs
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Finetune, Compute):
    """The settings of the stage, the arm, and the device."""

    variant: Literal[*ARMS] = Field(description="Arm of the study, or of its ablation.")
    seed: int = Field(ge=0, description="Seed of shuffles, counts and random directions.")


def finetune(job: Job[Arguments]) -> None:
    """Write the weights that validate best and the history."""
    arguments = job.arguments
    variant = ARMS[arguments.variant]
    epochs = arguments.ablation_epochs if arguments.variant in SHORT else arguments.epochs
    losses = arguments.loss.model_copy(update=LOSSES.get(arguments.variant, {}))
    metadata = read_metadata(job.input("pretrained"))
    matcher = load_matcher(job.input("pretrained"))
    pairs = read_pairs(job.inputs["shards"])
    augmentation = Augmentation(**metadata["lesson"])
    with training_device(job) as device:
        observer = Observer(pairs.to(device), variant, augmentation, arguments.validation_pairs)
        trained = train_for(
            job,
            matcher,
            FinetuneTask(observer, losses, matcher.observed.encode, arguments.pairs),
            device,
            f"finetuning {arguments.variant}",
            settings=arguments.model_copy(update={"epochs": epochs}),
        )
    write_trained(job, trained.best, trained.history, metadata | {"arm": arguments.variant})


if __name__ == "__main__":
    Command(
        finetune,
        Arguments,
        inputs={
            "pretrained": "Weights of the stage pretrain (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        outputs=TRAINED,
    ).main()
