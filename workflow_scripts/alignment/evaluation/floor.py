"""The floor of any alignment: each image against the noise-free particle with its true contrast transfer."""

import torch
from torch import Tensor

from workflow_scripts.alignment.evaluation.scores import Prediction
from workflow_scripts.alignment.networks.matching import observe
from workflow_scripts.alignment.networks.maximum_likelihood import align_to_clean
from workflow_scripts.alignment.simulation.labels import JOINT, LabelledStack

CLEAN_REFERENCE = "clean_reference"


def floor_prediction(stack: LabelledStack, clean: Tensor) -> Prediction:
    """The most likely poses within a few degrees and pixels of the true ones, given the noise-free particle (n, n).

    Averages are made from no such prediction, since it has no half stacks.
    """
    truth = (torch.from_numpy(values).float() for values in stack.truth())
    angle_deg, shift_px = align_to_clean(observe(stack.read(), stack.transfer()), clean, *truth)
    poses = {"angle_deg": angle_deg.numpy(), "shift_px": shift_px.numpy()}
    return Prediction(CLEAN_REFERENCE, None, JOINT, None, stack, poses)
