"""Shot noise of a counting detector."""

import torch
from torch import Tensor


def poisson_counts(pattern: Tensor, dose_e: Tensor | float, generator: torch.Generator) -> Tensor:
    """Electrons counted in each detector pixel.

    Args:
        pattern: (..., n, n), the expected share of the electrons per pixel, not negative.
        dose_e: electrons per pattern, a number or anything that broadcasts against ``pattern``.
        generator: the only source of randomness, on the device of ``pattern``.

    Returns:
        counts of the shape and dtype of ``pattern``, whole numbers.
    """
    return torch.poisson(pattern * dose_e, generator=generator)
