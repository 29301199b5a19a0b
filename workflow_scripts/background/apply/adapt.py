"""Show the corrected arm's network the flat fields of the user's microscope; or hand the weights on as they are."""

import numpy as np
from pydantic import Field

from workflow_scripts.background.apply.check import BESIDE, TILES
from workflow_scripts.background.apply.data import Files, read_own
from workflow_scripts.background.apply.flats import own_bank, own_flats
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.networks.model import load_network
from workflow_scripts.background.networks.splits import finetuning_split
from workflow_scripts.background.networks.tasks import BackgroundTask
from workflow_scripts.background.networks.variants import ARMS
from workflow_scripts.background.settings import Finetune
from workflow_scripts.background.simulation.tile_files import read_bank
from workflow_scripts.learning.stages import train_for, training_device, write_trained
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.settings import Compute

ARM = "corrected"


class Arguments(Compute):
    """The entry of the configuration, how a network is adapted, and on what."""

    entry: Apply = Field(description="The entry of the configuration.")
    training: Finetune = Field(description="How a network is adapted.")
    seed: int = Field(ge=0, description="Seed of all items.")


def adapt(job: Job[Arguments]) -> None:
    """Write the adapted weights and the history, which is empty where nothing was learned."""
    arguments = job.arguments
    training, source = arguments.training, read_json(job.input("report"))["finetune"]
    with training_device(job) as device:
        network, about = load_network(job.input("pretrained"), ARM)
        state, history = network.state_dict(), []
        if source != "none":
            own, _ = read_own(arguments.entry, Files.of(job.inputs))
            rng = np.random.default_rng(arguments.seed)
            bank = own_bank(own_flats(own, source), about["side_px"], read_bank(job.inputs["shards"]), rng)
            task = BackgroundTask(
                *finetuning_split(bank, ARMS[ARM]),
                ARM,
                training.pairs,
                training.validation_pairs,
                about["largest_set"],
                device,
                turned=False,
            )
            trained = train_for(job, network, task, device, f"adapting to the {source}", settings=training)
            state, history = trained.best, trained.history
    write_trained(job, state, history, about)


if __name__ == "__main__":
    Command(
        adapt,
        Arguments,
        inputs=TILES
        | {
            "report": "The report on them (.json).",
            "pretrained": "Weights of the stage pretrain, corrected arm (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        outputs={"weights": "The adapted weights (.safetensors).", "history": "Losses of every epoch (.csv)."},
        optional_inputs=BESIDE,
    ).main()
