"""The arms of the study: one code path, the recipe's faults as named switches of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from workflow_scripts.workflow.errors import InputError

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/diffractive_imaging.md explains each.

    Attributes:
        loss_on_first_sample: one sample of every batch trains and validates.
        target_keeps_mean: the network is asked for the mean phase, which a pattern cannot determine.
        noise_drawn_once: one dose and one draw of Poisson noise for all epochs, no normalisation by dose.
        validation_split_by_sample: crops of one photograph lie on both sides of the split.
        epoch_by_hand: the weights of an epoch chosen beforehand, not those that validate best.
        axes_exchanged: the scan's x and y are exchanged, right only where the detector's are too.
        damped_stitching: patches are averaged with a damping that lets no long period through.
        without_finetune: the network is never adapted to the measured patterns.
    """

    loss_on_first_sample: bool
    target_keeps_mean: bool
    noise_drawn_once: bool
    validation_split_by_sample: bool
    epoch_by_hand: bool
    axes_exchanged: bool
    damped_stitching: bool
    without_finetune: bool


VARIANTS = {
    "published": Variant(True, True, True, True, True, True, True, True),
    "corrected": Variant(False, False, False, False, False, False, False, False),
}

# Faults that need a training of their own; those of IMAGE_FAULTS need none, only other images from the same weights.
TrainingFault = Literal["loss_on_first_sample", "target_keeps_mean", "noise_drawn_once", "validation_split_by_sample"]
IMAGE_FAULTS = ("damped_stitching", "axes_exchanged")
NO_FAULT = "none"


def with_fault(fault: str) -> Variant:
    """The corrected recipe with one fault, or with `NO_FAULT`."""
    return VARIANTS["corrected"] if fault == NO_FAULT else replace(VARIANTS["corrected"], **{fault: True})


def arm_named(name: str, arms: Mapping[str, Entry]) -> Entry:
    """The entry of an estimator among some arms; raises InputError where it is none of them."""
    if name not in arms:
        raise InputError(f"--estimator is {name}, but its module knows {', '.join(arms)}")
    return arms[name]


def ablation_arm(fault: str) -> str:
    """What the arm with this one fault is called, in the names of files too."""
    return f"only_{fault}"


def ablation_arms(faults: Sequence[str], variants: Sequence[str]) -> list[str]:
    """The arms with a single fault, and the one without any; none where no fault, or no corrected arm, is asked for."""
    return [ablation_arm(fault) for fault in (NO_FAULT, *faults)] if faults and "corrected" in variants else []


# By the name of the arm, the fault that it has alone. All are trained for the same few epochs.
ABLATIONS = {ablation_arm(fault): fault for fault in (NO_FAULT, *get_args(TrainingFault))}
ARMS = VARIANTS | {arm: with_fault(fault) for arm, fault in ABLATIONS.items()}
