"""Terms of the training loss, and how each arm weighs them.

A term compares images (B, H, W) in units of the network and gives one number a row, so that a loss is a mean over rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.potential.networks.variants import Variant


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (prediction - target).abs().mean(dim=(-2, -1))


def gradient_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours along y, plus that along x."""
    error = prediction - target
    return sum(error.diff(dim=axis).abs().mean(dim=(-2, -1)) for axis in (-2, -1))


def gradient_modulus_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """The recipe's gradient term compares the moduli of the differences, so that rising and falling are the same.

    A soft lattice moved by half a period costs less than its mean does, a single cosine nothing.
    """
    return sum(
        (prediction.diff(dim=axis).abs() - target.diff(dim=axis).abs()).abs().mean(dim=(-2, -1)) for axis in (-2, -1)
    )


def fft_modulus_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """The recipe's Fourier term: mean absolute difference of the moduli of the unnormalised Fourier coefficients.

    A shift changes the phases of the coefficients alone, which this does not see.
    """
    difference = torch.fft.rfft2(prediction).abs() - torch.fft.rfft2(target).abs()
    return difference.abs().mean(dim=(-2, -1))


TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    term.__name__: term for term in (l1, gradient_l1, gradient_modulus_l1, fft_modulus_l1)
}
POSITION_AWARE = ("l1", "gradient_l1")  # half a period of shift costs at least what the mean of the image does


@dataclass(frozen=True)
class Weighted:
    """A term of `TERMS` on one channel of the network: 0 the potential, 1 its band-limited part."""

    term: str
    channel: int
    weight: float


def weighted_terms(variant: Variant, gradient_weight: float, limited_weight: float) -> tuple[Weighted, ...]:
    """The loss of an arm; the recipe's weights are its own (0.1 and 0.1), the others are of the corrected loss.

    Args:
        gradient_weight: weight of the gradient's error beside the potential's.
        limited_weight: weight of the second task, the band-limited potential, beside the first.
    """
    if variant.loss_blind_to_position:
        return Weighted("l1", 0, 1.0), Weighted("fft_modulus_l1", 0, 0.1), Weighted("gradient_modulus_l1", 0, 0.1)
    return tuple(
        Weighted(term, channel, task * weight)
        for channel, task in enumerate((1.0, limited_weight))
        for term, weight in (("l1", 1.0), ("gradient_l1", gradient_weight))
    )


def loss_by_row(prediction: Tensor, target: Tensor, terms: tuple[Weighted, ...]) -> Tensor:
    """The weighted sum of terms: (B, C, H, W), (B, C, H, W) → (B,)."""
    return sum(
        weighted.weight * TERMS[weighted.term](prediction[:, weighted.channel], target[:, weighted.channel])
        for weighted in terms
    )
