"""What turns the user's images into rows that are compared along the angle: the network of the corrected arm first."""

from pathlib import Path

import torch
from torch import Tensor

from workflow_scripts.alignment.model import CorrelationNetwork, load_network
from workflow_scripts.alignment.polar_alignment import amplitude_spectra
from workflow_scripts.alignment.streaming import Encode
from workflow_scripts.alignment.tasks import features_of
from workflow_scripts.workflow.errors import InputError


def estimators(weights: Path, batch_size: int, device: torch.device) -> dict[str, Encode]:
    """By name, ours first.

    Args:
        weights: of the stage finetune, corrected arm.
        batch_size: images that go through the network at once.

    Raises:
        InputError: the file holds no weights of that arm.
    """
    network, arm = load_network(weights)
    if not isinstance(network, CorrelationNetwork):
        raise InputError(f"{weights}: these weights are of the arm {arm}, expected the corrected one")
    network.to(device)

    def learned(images: Tensor) -> Tensor:
        with torch.no_grad():
            return features_of(network, images, batch_size)

    return {arm: learned, "polar_joint": amplitude_spectra}
