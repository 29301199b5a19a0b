"""From transmission and flat field to counts, and back to a log tile."""

import torch
from torch import Tensor

LARGEST_COUNT = 65535.0  # of a 16-bit camera
DEAD = 0.05  # a pixel with less than this share of the tile's level has no light of its own


def raw_counts(log_image: Tensor, dose: Tensor | float, dark: float, generator: torch.Generator) -> Tensor:
    """Counts (N, H, W) of a 16-bit camera: Poisson(dose · exp(log_image) + dark), clipped.

    Args:
        log_image: (N, H, W) ln of transmission times flat field.
        dose: photons of an open pixel, a number or (N, 1, 1).
        dark: mean of the dark frame, counts.
        generator: the only source of randomness, on the device of log_image.
    """
    return torch.poisson(dose * torch.exp(log_image) + dark, generator=generator).clamp(max=LARGEST_COUNT)


def log_tiles(counts: Tensor, dark: Tensor | float) -> tuple[Tensor, Tensor]:
    """ln of the counts less the dark frame, and which pixels are dead.

    The median of each tile is subtracted: it holds dose and brightness, which say nothing of a pattern. A dead pixel
    gets the value of the faintest that is not.

    Args:
        counts: (N, H, W).
        dark: a number, or a frame (H, W), counts.

    Returns:
        (N, H, W) float32, and (N, H, W) bool.
    """
    light = counts - dark
    level = light.flatten(1).median(1).values.clamp(min=1.0)[:, None, None]
    dead = light < DEAD * level
    return torch.log(torch.where(dead, DEAD * level, light) / level), dead
