"""Train one arm's network on synthetic sessions; the published recipe trains on those that validate, too."""

from typing import Literal

from pydantic import Field

from workflow_scripts.background.model import describe_network, make_network
from workflow_scripts.background.settings import Pretrain
from workflow_scripts.background.splits import pretraining_split
from workflow_scripts.background.tasks import Arm, BackgroundTask
from workflow_scripts.background.tile_files import read_bank
from workflow_scripts.background.variants import ARMS
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.learning.distributed import process_group, relaunch_under_torchrun
from workflow_scripts.learning.training import HISTORY, train
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_rows
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(
        description="Arm of the study: published, corrected, or unet (the corrected recipe as plain regression)."
    )
    seed: int = Field(ge=0, description="Seed of the network's first weights and of all items.")


def pretrain(job: Job[Arguments]) -> None:
    """Write the weights that validate best and the history."""
    arguments = job.arguments
    relaunch_under_torchrun(arguments.gpus)
    arm, n_in = arguments.variant, Arm.of(arguments.variant).channels
    with leased_device(arguments.gpus) as device, process_group(device):
        job.device = str(device)
        bank = read_bank(job.inputs["shards"])
        task = BackgroundTask(
            *pretraining_split(bank, ARMS[arm]),
            arm,
            arguments.pairs,
            arguments.validation_pairs,
            arguments.largest_set,
            device,
        )
        trained = train(
            make_network(arguments.network, n_in, arguments.seed),
            task,
            arguments,
            seed=arguments.seed,
            device=device,
            precision=arguments.precision,
            checkpoint_folder=job.checkpoint_folder,
            label=f"pretraining {arm}",
        )
    side_px = max(bank.log_flat.shape[-2:])
    about = describe_network(arguments.network, n_in, arm, side_px, arguments.largest_set)
    save_weights(trained.best, job.outputs["weights"], about)
    write_rows(job.outputs["history"], trained.history, HISTORY)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={"shards": "Training files of the stage synthesize (.npz)."},
        outputs={
            "weights": "The weights that validate best (.safetensors).",
            "history": "Losses of every epoch (.csv).",
        },
    ).main()
