"""The losses of both trainings: patches against the truth, expected patterns against counts."""

from torch import Tensor

# Of the deviance of held-out patterns over that of counting noise: above it an image is refused.
MISFIT_LIMIT = 1.5


def weighted_absolute_error(predicted: Tensor, target: Tensor, pixels: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
    """Mean absolute error of patches (B, n, n) in pixels, rows and columns (P,), rad; each patch weighted by (B,)."""
    error = (predicted - target)[:, *pixels].abs().mean(dim=1)  # (B,)
    return (weight * error).mean()


def amplitude_misfit(expected: Tensor, counts: Tensor) -> Tensor:
    """Mean of 4 (√expected − √counts)² over detector pixels (B, n, n): 1 for shot noise alone.

    The root of a Poisson count has variance ¼ whatever its mean (Anscombe, doi:10.1093/biomet/35.3-4.246), so this is
    about χ² of one degree of freedom where counts are not few.
    """
    return 4 * ((expected + 0.375).sqrt() - (counts + 0.375).sqrt()).square().mean()
