"""The arms of the study: one code path, with the recipe's faults as its named switches."""

from dataclasses import dataclass, replace
from typing import get_args

from workflow_scripts.potential.settings import NO_FAULT, TrainingFault, ablation_arm


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/potential.md explains each.

    Attributes:
        patch_in_vacuum: trains on crystal patches whose outline floats in vacuum, in a cell that thick samples wrap
            around, not on crystals that fill the field of view.
        joint_minmax: the four segments are stretched to [0, 1] together, which discards the share of the beam.
        float16_inputs: the images are rounded to half precision.
        noise_not_counted: Gaussian noise, blur and stretching of the stretched images in training and no noise in
            validation, not counted electrons in both.
        loss_blind_to_position: the loss compares moduli of Fourier coefficients, which a shift does not change.
        fixed_target_scale: the target is a share of 600,000 V Å whatever the thickness.
        split_by_sample: samples of one crystal orientation lie on both sides of the split, no material is held out.
        unreadable_becomes_zeros: a file that cannot be read is trained on as zeros in and zeros out.
        one_detector: trained on the recipe's ring alone, not on a detector that is matched to the aperture.
        without_finetune: the network is never trained on samples of the material that was held out.
    """

    patch_in_vacuum: bool
    joint_minmax: bool
    float16_inputs: bool
    noise_not_counted: bool
    loss_blind_to_position: bool
    fixed_target_scale: bool
    split_by_sample: bool
    unreadable_becomes_zeros: bool
    one_detector: bool
    without_finetune: bool


VARIANTS = {"published": Variant(*[True] * 10), "corrected": Variant(*[False] * 10)}

PLAIN_UNET = "unet"  # the corrected recipe with the plain U-net: a baseline where the arms train another network

# By the name of the arm, the fault that it has alone. All are trained for the same few epochs.
ABLATIONS = {ablation_arm(fault): fault for fault in (NO_FAULT, *get_args(TrainingFault))}
_ALONE = {
    arm: VARIANTS["corrected"] if fault == NO_FAULT else replace(VARIANTS["corrected"], **{fault: True})
    for arm, fault in ABLATIONS.items()
}
ARMS = VARIANTS | {PLAIN_UNET: VARIANTS["corrected"]} | _ALONE
