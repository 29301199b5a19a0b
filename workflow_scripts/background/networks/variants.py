"""The arms of the study: one code path, the recipe's faults as named switches of it."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/background.md explains each.

    Attributes:
        rescaled_to_mean: intensities, not logarithms; each is stretched by its own minimum and maximum, and the result
            is rescaled to the mean 0.7, so that the absolute signal is lost.
        weights_load_loosely: finetuning loads weights whose names do not match, without a message: nothing loads.
        partner_unsorted: the other tile of a pair comes from an unsorted listing, not from the neighbourhood.
        sessions_shared: the sessions that validate were trained on.
        idealised_pair: training pairs have no noise, no drift and no dark current.
        mixed_normalisation: specimens are stretched one by one, references by the largest value of all.
        one_sample: the prediction is a single random sample, without an uncertainty.
        dropped_without_guidance: the condition is dropped in training and sampling makes no use of that.
        regression: no fault: no noise enters the network, and one pass gives the result.
    """

    rescaled_to_mean: bool
    weights_load_loosely: bool
    partner_unsorted: bool
    sessions_shared: bool
    idealised_pair: bool
    mixed_normalisation: bool
    one_sample: bool
    dropped_without_guidance: bool
    regression: bool = False

    @property
    def prediction_type(self) -> Literal["noise", "velocity"]:
        """What the network predicts."""
        return "noise" if self.rescaled_to_mean else "velocity"


VARIANTS = {"published": Variant(*[True] * 8), "corrected": Variant(*[False] * 8)}
RECOMMENDED = "corrected"  # the arm that corrects the user's tiles
# unet: the corrected recipe as plain regression, a baseline
ARMS = VARIANTS | {"unet": replace(VARIANTS["corrected"], regression=True)}
