"""Train one arm's network on synthetic sessions; the published arm trains on the validation sessions too."""

from typing import Literal

from pydantic import Field

from workflow_scripts.background.networks.conditions import input_channels
from workflow_scripts.background.networks.model import describe_network, make_network
from workflow_scripts.background.networks.tasks import BackgroundTask, pretraining_split
from workflow_scripts.background.settings import ARMS, Pretrain
from workflow_scripts.background.simulation.tile_files import read_training_tiles
from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage, the arm, and the device."""

    variant: Literal[*ARMS] = Field(
        description="Arm of the study: published, corrected, or unet (the corrected recipe as plain regression)."
    )
    seed: int = Field(ge=0, description="Seed of the initial weights, of shuffles and of the random sets of tiles.")


def pretrain(job: Job[Arguments]) -> None:
    """Write the weights with the smallest validation loss, and the history."""
    arguments = job.arguments
    arm, n_in = arguments.variant, input_channels(ARMS[arguments.variant])
    tiles = read_training_tiles(job.inputs["shards"])
    split = pretraining_split(tiles, ARMS[arm])
    network = make_network(arguments.network, n_in, arguments.seed)
    with training_device(job) as device:
        task = BackgroundTask(split, arm, arguments, arguments.largest_set, device)
        trained = train_for(job, network, task, device, f"pretraining {arm}")
    side_px = max(tiles.log_flat.shape[-2:])
    about = describe_network(arguments.network, n_in, arm, side_px, arguments.largest_set)
    write_trained(job, trained.best, trained.history, about)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={"shards": "Training files of the stage synthesize (.npz)."},
        outputs=TRAINED,
    ).main()
