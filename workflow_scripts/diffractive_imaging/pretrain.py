"""Train one arm's network on simulated patterns of photographs and synthetic images."""

from typing import Literal

from pydantic import Field

from workflow_scripts.diffractive_imaging.networks.model import DenseNetwork, make_network
from workflow_scripts.diffractive_imaging.networks.pattern_task import PatternTask, read_examples
from workflow_scripts.diffractive_imaging.settings import ABLATIONS, ARMS, Pretrain
from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage, the arm, and on what it runs."""

    variant: Literal[*ARMS] = Field(description="Arm of the study: published, corrected, or one with a single fault.")
    seed: int = Field(ge=0, description="Seed of the network's first weights, of shuffles and of noise.")


def pretrain(job: Job[Arguments]) -> None:
    """Write the chosen weights, those of the last epoch, and the history."""
    arguments = job.arguments
    variant = ARMS[arguments.variant]
    epochs = arguments.ablation_epochs if arguments.variant in ABLATIONS else arguments.epochs
    examples, validation, light = read_examples(job.inputs["shards"], variant, arguments.seed)
    with training_device(job) as device:
        task = PatternTask(examples, validation, light, variant, arguments, device)
        network = make_network(light.n, arguments.network, arguments.seed)
        if isinstance(network, DenseNetwork):
            network.warm_start(*task.first_patterns())
        trained = train_for(
            job,
            network,
            task,
            device,
            f"pretraining {arguments.variant}",
            settings=arguments.model_copy(update={"epochs": epochs}),
            keep_epoch=arguments.epoch_by_hand if variant.epoch_by_hand else None,
        )
    weights = trained.kept if variant.epoch_by_hand else trained.best
    metadata = {"n": light.n, "network": arguments.network.model_dump(mode="json")}
    write_trained(job, weights, trained.history, metadata)
    save_weights(trained.last, job.outputs["last"], metadata)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={"shards": "Training files of the stage synthesize (.npz)."},
        outputs=TRAINED | {"last": "The weights of the last epoch (.safetensors)."},
    ).main()
