"""Where the networks of both arms join the estimators."""

from pathlib import Path

import torch

from workflow_scripts.alignment.estimators import Estimator
from workflow_scripts.workflow.errors import InputError


def network_estimator(weights: Path, stage: str, batch_size: int, rounds: int, device: torch.device) -> Estimator:
    """One stage of one arm; the weights say which arm, network and settings they belong to.

    Args:
        weights: of the stage pretrain or finetune.
        stage: pretrained (pairs alone) or finetuned (pairs, and all images jointly).
        batch_size: images, or pairs, that go through the network at once.
        rounds: largest number of rounds of averaging and aligning.

    Raises:
        InputError: the file holds no weights of alignment.
    """
    raise InputError(f"{weights}: this version has no network of alignment; leave --estimator to the baselines")
