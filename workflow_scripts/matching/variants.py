"""The arms of the study: one code path, the recipe's faults as named switches of it, and losses to compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/matching.md explains each.

    Attributes:
        not_equivariant: a convolutional network embeds the Cartesian pattern, instead of features that are correlated
            over the angle.
        stage_ignored: the Wasserstein term is taken of the embedding, whatever stage is asked for.
        max_sliced_paired: max-sliced Wasserstein sorts an axis of length 1: a paired distance.
        pretraining_sees_test: pretraining sees the observed patterns of the test.
        turned_apart: pretraining turns and flips two views of a pattern apart, which erases the in-plane angle.
        normalised_in_pretraining_only: patterns are normalised in pretraining and raw in finetuning.
        one_dose: all training patterns have one dose, without the experiment's distortions drawn anew.
    """

    not_equivariant: bool
    stage_ignored: bool
    max_sliced_paired: bool
    pretraining_sees_test: bool
    turned_apart: bool
    normalised_in_pretraining_only: bool
    one_dose: bool


Arm = Literal[
    "fair_pretraining",
    "without_pretraining",
    "without_observation",
    "contrast_alone",
    "sliced",
    "generalised",
    "max_sliced",
    "distributional",
    "sliced_stage0",
]
VARIANTS = {"published": Variant(*[True] * 7), "corrected": Variant(*[False] * 7)}
# What an arm of the ablation changes of the corrected arm's loss (wasserstein, stage)
LOSSES: dict[str, dict[str, str | int]] = {
    "contrast_alone": {"wasserstein": "none", "cosine_weight": 0.0},
    "sliced": {"wasserstein": "sliced"},
    "generalised": {"wasserstein": "generalised"},
    "max_sliced": {"wasserstein": "max_sliced"},
    "distributional": {"wasserstein": "distributional"},
    "sliced_stage0": {"wasserstein": "sliced", "stage": 0},
}
# Trained shortly: they are compared with each other. The others are trained as their base is.
SHORT = (*LOSSES, "without_pretraining", "without_observation")
ARMS = (
    VARIANTS
    | {
        "fair_pretraining": replace(VARIANTS["published"], pretraining_sees_test=False),
        "without_pretraining": VARIANTS["corrected"],
        "without_observation": replace(VARIANTS["corrected"], one_dose=True),
    }
    | dict.fromkeys(LOSSES, VARIANTS["corrected"])
)


def base_of(estimator: str) -> str:
    """The arm of which an arm of the ablation changes one thing; an estimator that is no arm is its own."""
    if estimator not in ARMS:
        return estimator
    faults = vars(ARMS[estimator])
    return min(VARIANTS, key=lambda name: sum(faults[key] != value for key, value in vars(VARIANTS[name]).items()))


def ablation_arms(ablations: Sequence[str], variants: Sequence[str]) -> list[str]:
    """Those whose base is asked for."""
    return [arm for arm in ablations if base_of(arm) in variants]
