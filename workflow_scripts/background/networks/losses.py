"""Errors of images (B, 1, H, W) over valid pixels, one for each row: (B,)."""

from torch import Tensor

_ROUNDING = 1e-6  # keeps the gradient of the square root finite if the error is 0


def mean_square_error(output: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """The mean square error, the loss of the recipe."""
    return ((output - truth) * valid).square().mean(dim=(1, 2, 3))


def rms_error(output: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """The RMS error, as in the metric; a few very hard sets would dominate a mean of squares."""
    return (mean_square_error(output, truth, valid) + _ROUNDING).sqrt()
