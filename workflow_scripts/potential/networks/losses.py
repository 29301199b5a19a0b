"""Terms of the training loss, and their weights in each arm.

A term compares images (B, H, W) in units of the network and returns one number per row; a loss is a mean over rows.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from workflow_scripts.potential.settings import Variant


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (prediction - target).abs().mean(dim=(-2, -1))


def gradient_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours along y, plus that along x."""
    error = prediction - target
    return sum(error.diff(dim=axis).abs().mean(dim=(-2, -1)) for axis in (-2, -1))


def gradient_modulus_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """The recipe's gradient term compares the moduli of the differences, so it ignores the sign of a gradient.

    A smooth lattice shifted by half a period costs less than its mean does, a single cosine nothing.
    """
    return sum(
        (prediction.diff(dim=axis).abs() - target.diff(dim=axis).abs()).abs().mean(dim=(-2, -1)) for axis in (-2, -1)
    )


def fft_modulus_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """The recipe's Fourier term: mean absolute difference of the moduli of the unnormalised Fourier coefficients.

    A shift changes only the phases of the coefficients, to which this term is blind.
    """
    difference = torch.fft.rfft2(prediction).abs() - torch.fft.rfft2(target).abs()
    return difference.abs().mean(dim=(-2, -1))


Term = Callable[[Tensor, Tensor], Tensor]


def weighted_terms(
    variant: Variant, gradient_weight: float, limited_weight: float
) -> tuple[tuple[Term, int, float], ...]:
    """The loss of an arm: its terms, each with a weight and a channel, 0 the potential or 1 its band-limited part.

    The weights of the recipe's terms are fixed (0.1 and 0.1); the arguments are those of the corrected loss.

    Args:
        gradient_weight: weight of the gradient's error beside the potential's.
        limited_weight: weight of the second task, the band-limited potential, beside the first.
    """
    if variant.loss_blind_to_position:
        return (l1, 0, 1.0), (fft_modulus_l1, 0, 0.1), (gradient_modulus_l1, 0, 0.1)
    return tuple(
        (term, channel, task * weight)
        for channel, task in enumerate((1.0, limited_weight))
        for term, weight in ((l1, 1.0), (gradient_l1, gradient_weight))
    )


def loss_by_row(prediction: Tensor, target: Tensor, terms: tuple[tuple[Term, int, float], ...]) -> Tensor:
    """The weighted sum of terms: (B, C, H, W), (B, C, H, W) → (B,)."""
    return sum(weight * term(prediction[:, channel], target[:, channel]) for term, channel, weight in terms)
