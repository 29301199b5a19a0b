"""The tiles of a session: counts of a camera, their logarithms, and the neighbours of every tile in order."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

LARGEST_COUNT = 65535.0  # of a 16-bit camera
DEAD_SHARE = 0.05  # of the tile's median light; a pixel with less is dead

# What the function `predict` of an estimator's module returns: by stage (`pretrained`, `finetuned`, or `fitted` for an
# estimator without training) and condition the arrays `log_flat`, ln of the flat fields float32 (sessions, tiles, H, W)
# up to a constant of each tile, and where it is known `spread`, their standard deviation.
Predictions = dict[tuple[str, str], Mapping[str, np.ndarray]]


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

    The median of each tile is subtracted: it contains dose and brightness, which are independent of the flat field. A
    dead pixel gets the value of the faintest pixel that is not dead.

    Args:
        counts: (N, H, W).
        dark: a number, or a frame (H, W), counts.

    Returns:
        (N, H, W) float32, and (N, H, W) bool.
    """
    light = counts - dark
    level = light.flatten(1).median(1).values.clamp(min=1.0)[:, None, None]
    dead = light < DEAD_SHARE * level
    return torch.log(torch.where(dead, DEAD_SHARE * level, light) / level), dead


def session_logs(counts: np.ndarray, dark: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`log_tiles` for arrays: float32 and bool (M, H, W)."""
    logs, dead = log_tiles(torch.as_tensor(counts), torch.as_tensor(dark))
    return logs.numpy(), dead.numpy()


def nearest_in_order(tiles: int, size: int) -> np.ndarray:
    """For every tile itself and the nearest in the order of recording, the earlier one of two first: int (tiles, size).

    Args:
        tiles: in the session.
        size: of a set; all tiles where there are fewer.
    """
    place = np.arange(tiles)
    return np.argsort(abs(place[:, None] - place), axis=1, kind="stable")[:, :size]
