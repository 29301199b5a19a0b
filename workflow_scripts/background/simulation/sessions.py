"""The tiles of a session: counts of a camera, their logarithms, and sets of tiles that are neighbours in time."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.learning.devices import host_work
from workflow_scripts.workflow.errors import InputError

LARGEST_COUNT = 65535.0  # of a 16-bit camera
DEAD_SHARE = 0.05  # a pixel with less light than this fraction of the tile's median is dead

# Return type of the function `predict` of an estimator's module. Keys are the stage (`pretrained`, `finetuned`, or
# `fitted` for an estimator without training) and the condition. Values are the arrays `log_flat`, ln of the flat fields
# up to a constant for each tile, float32 (sessions, tiles, H, W), and optionally their standard deviation, `spread`.
Predictions = dict[tuple[str, str], Mapping[str, np.ndarray]]


def raw_counts(log_image: Tensor, dose: Tensor | float, dark: float, generator: torch.Generator) -> Tensor:
    """Counts (N, H, W) of a 16-bit camera: Poisson(dose · exp(log_image) + dark), clipped.

    Args:
        log_image: (N, H, W) ln of transmission times flat field.
        dose: photons at a pixel without a specimen, a number or (N, 1, 1).
        dark: mean of the dark frame, counts.
        generator: the only source of randomness, on the device of log_image.
    """
    return torch.poisson(dose * torch.exp(log_image) + dark, generator=generator).clamp(max=LARGEST_COUNT)


def log_tiles(counts: Tensor, dark: Tensor | float) -> tuple[Tensor, Tensor]:
    """ln of the counts less the dark frame, and which pixels are dead.

    The median of each tile is subtracted: it depends on dose and brightness, not on the shape of the flat field. Dead
    pixels get the smallest value of a pixel that is not dead.

    Args:
        counts: (N, H, W).
        dark: a number, or a frame (H, W), counts.

    Returns:
        Logarithms float32 (N, H, W), and dead pixels bool (N, H, W).
    """
    light = counts - dark
    level = light.flatten(1).median(1).values.clamp(min=1.0)[:, None, None]
    dead = light < DEAD_SHARE * level
    return torch.log(torch.where(dead, DEAD_SHARE * level, light) / level), dead


@host_work()
def session_logs(counts: np.ndarray, dark: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`log_tiles` for NumPy arrays: float32 and bool (M, H, W)."""
    logs, dead = log_tiles(torch.as_tensor(counts), torch.as_tensor(dark))
    return logs.numpy(), dead.numpy()


def nearest_in_order(tiles: int, size: int) -> np.ndarray:
    """For each tile the numbers (tiles, size) of a set: itself, then the nearest in order, the earlier of two first.

    Args:
        tiles: number of tiles in the session.
        size: tiles in a set; limited to `tiles`.
    """
    place = np.arange(tiles)
    return np.argsort(abs(place[:, None] - place), axis=1, kind="stable")[:, :size]


def tiles_in_name(estimator: str, kind: str) -> int:
    """The number of tiles in the name of an estimator, such as `median_4`.

    Raises:
        InputError: the name is not of the form KIND_N.
    """
    stem, _, digits = estimator.partition("_")
    if stem != kind or not (digits.isdecimal() and int(digits) > 0):
        raise InputError(f"--estimator is {estimator}, but this module accepts only {kind}_N, such as {kind}_4")
    return int(digits)
