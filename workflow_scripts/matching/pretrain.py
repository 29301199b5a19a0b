"""Contrastive pretraining of one arm's encoder without labels: momentum contrast of two views of a pattern."""

from dataclasses import asdict
from typing import Literal

import torch
from pydantic import Field

from workflow_scripts.learning.stages import TRAINED, train_for, training_device, write_trained
from workflow_scripts.matching.networks.model import describe_network, make_matcher
from workflow_scripts.matching.networks.momentum import MomentumContrast, encoder_state
from workflow_scripts.matching.networks.tasks import Augmentation, Observer, PretrainTask
from workflow_scripts.matching.settings import ARMS, SHORT, Pretrain
from workflow_scripts.matching.simulation.pairs import read_pairs
from workflow_scripts.matching.simulation.pattern_files import read_queries
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import Compute


class Arguments(Pretrain, Compute):
    """The settings of the stage, the arm, and the device."""

    variant: Literal[*ARMS] = Field(description="Arm of the study, or of its ablation.")
    background_share: float = Field(ge=0, description="Background electrons per electron in the spots.")
    seed: int = Field(ge=0, description="Seed of the network's first weights, of shuffles, views and counts.")


def pretrain(job: Job[Arguments]) -> None:
    """Write both encoders with the pretrained weights and the history; `without_pretraining` keeps its initial weights.

    Raises:
        InputError: the arm's pretraining sees the test patterns, and `--test` is missing.
    """
    arguments = job.arguments
    variant = ARMS[arguments.variant]
    if variant.pretraining_sees_test and "test" not in job.inputs:
        raise InputError(f"--variant {arguments.variant} needs --test, which is missing")
    augmentation = Augmentation(
        arguments.dose_min_e, arguments.dose_max_e, arguments.recipe_dose_e, arguments.background_share
    )
    matcher = make_matcher(arguments.network, variant, arguments.seed)
    history: list[dict[str, float]] = []
    if arguments.variant != "without_pretraining":
        pairs = read_pairs(job.inputs["shards"])
        extra = torch.zeros(0, *2 * [pairs.diffraction.side_px])
        if variant.pretraining_sees_test:
            extra = torch.from_numpy(read_queries(job.input("test")).counts)
        with training_device(job) as device:
            observer = Observer(pairs.to(device), variant, augmentation, arguments.validation_patterns)
            epochs = arguments.ablation_epochs if arguments.variant in SHORT else arguments.epochs
            trained = train_for(
                job,
                MomentumContrast(matcher.observed, arguments, arguments.seed),
                PretrainTask(observer, extra.to(device), matcher.observed.encode, arguments.patterns),
                device,
                f"pretraining {arguments.variant}",
                settings=arguments.model_copy(update={"epochs": epochs}),
            )
        history = trained.history
        for encoder in (matcher.observed, matcher.calculated):
            encoder.cpu().load_state_dict(encoder_state(trained.best))
    metadata = describe_network(arguments.network, arguments.variant) | {"lesson": asdict(augmentation)}
    write_trained(job, matcher.state_dict(), history, metadata)


if __name__ == "__main__":
    Command(
        pretrain,
        Arguments,
        inputs={"shards": "Training files of the stage synthesize (.npz)."},
        outputs=TRAINED,
        optional_inputs={"test": "Test file of the stage synthesize (.npz), which the recipe's pretraining sees."},
    ).main()
