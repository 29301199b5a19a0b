"""Train one arm's network on simulated patterns of photographs and synthetic images."""

from typing import Literal

from pydantic import Field

from workflow_scripts.diffractive_imaging.model import DenseNetwork, make_network
from workflow_scripts.diffractive_imaging.pattern_task import PatternTask, read_examples
from workflow_scripts.diffractive_imaging.settings import Pretrain
from workflow_scripts.diffractive_imaging.variants import ABLATIONS, ARMS
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.learning.distributed import process_group, relaunch_under_torchrun
from workflow_scripts.learning.training import HISTORY, train
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_rows
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(description="Arm of the study: published, corrected, or one with a single fault.")
    seed: int = Field(ge=0, description="Seed of the network's first weights, of shuffles and of noise.")


def pretrain(job: Job[Arguments]) -> None:
    """Write the chosen weights, those of the last epoch, and the history."""
    arguments = job.arguments
    relaunch_under_torchrun(arguments.gpus)
    variant = ARMS[arguments.variant]
    epochs = arguments.ablation_epochs if arguments.variant in ABLATIONS else arguments.epochs
    with leased_device(arguments.gpus) as device, process_group(device):
        job.device = str(device)
        examples, validation, light = read_examples(job.inputs["shards"], variant, arguments.seed)
        task = PatternTask(examples, validation, light, variant, arguments, device)
        network = make_network(light.n, arguments.network, arguments.seed)
        if isinstance(network, DenseNetwork):
            try:
                network.warm_start(*task.first_look())
            except ValueError as error:
                raise InputError(f"pretrain.network.dense.components: {error}; lower it, or synthesize more") from None
        trained = train(
            network,
            task,
            arguments.model_copy(update={"epochs": epochs}),
            seed=arguments.seed,
            device=device,
            precision=arguments.precision,
            checkpoint_folder=job.checkpoint_folder,
            keep_epoch=arguments.epoch_by_hand if variant.epoch_by_hand else None,
            label=f"pretraining {arguments.variant}",
        )
    chosen = trained.kept if variant.epoch_by_hand else trained.best
    about = {"n": light.n, "network": arguments.network.model_dump(mode="json")}
    save_weights(chosen, job.outputs["weights"], about)
    save_weights(trained.last, job.outputs["last"], about)
    write_rows(job.outputs["history"], trained.history, HISTORY)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={"shards": "Training files of the stage synthesize (.npz)."},
        outputs={
            "weights": "The chosen weights (.safetensors).",
            "last": "The weights of the last epoch (.safetensors).",
            "history": "Losses of every epoch (.csv).",
        },
    ).main()
