"""The input channels of a network, computed from a set of tiles: its first tile and statistics of the whole set."""

import torch
from torch import Tensor

from workflow_scripts.background.settings import Variant
from workflow_scripts.background.simulation.composing import stretched

CHANNELS = ("tile", "mean", "median", "brightest", "darkest", "dead")
PUBLISHED_CHANNELS = ("tile", "partner")


def input_channels(variant: Variant) -> int:
    """Number of input channels of a network: the noisy image and the conditions."""
    return 1 + len(PUBLISHED_CHANNELS if variant.rescaled_to_mean else CHANNELS)


def without_level(logs: Tensor, valid: Tensor) -> Tensor:
    """Logarithms (..., H, W) less the median of their valid pixels, bool (..., H, W)."""
    flat = logs.masked_fill(~valid, torch.nan).flatten(-2)
    return logs - flat.nanmedian(dim=-1).values.nan_to_num()[..., None, None]


def centred(logs: Tensor, valid: Tensor) -> Tensor:
    """Logarithms (..., H, W) less the mean of their valid pixels, which fixes the unknown constant."""
    total = (logs * valid).sum(dim=(-2, -1), keepdim=True)
    return logs - total / valid.sum(dim=(-2, -1), keepdim=True).clamp(min=1)


def conditions(logs: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Channels `CHANNELS` of the first tile (B, 6, H, W), and its valid pixels (B, 1, H, W).

    For an even number of tiles the median is the brighter of the two middle values (for two tiles, the maximum), since
    specimens darken. The order of the other tiles does not matter. A dead pixel is replaced by the mean of the tiles in
    which it is valid, or by 0 if there are none.

    Args:
        logs: ln of N tiles of a session (B, N, H, W), each less its median.
        valid: bool (B, N, H, W), where there was light.
    """
    mean = (logs * valid).sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    logs = torch.where(valid, logs, mean)
    ordered = _sorted(logs)
    median = ordered[:, logs.shape[1] // 2, None]
    channels = [logs[:, :1], mean, median, ordered[:, -1:], ordered[:, :1], (~valid[:, :1]).to(logs.dtype)]
    return torch.cat(channels, dim=1), valid[:, :1]


def _sorted(logs: Tensor) -> Tensor:
    """The values (B, N, H, W) sorted along the second axis, smallest first."""
    if logs.shape[1] == 2:
        return torch.stack([logs.amin(dim=1), logs.amax(dim=1)], dim=1)
    # Sorting along the last axis is three times as fast as along any other
    return logs.movedim(1, -1).contiguous().sort(dim=-1).values.movedim(-1, 1)


def published_conditions(intensities: Tensor) -> Tensor:
    """The recipe's pair (B, 2, H, W), each image stretched to [-1, 1] by its own minimum and maximum."""
    return 2 * stretched(intensities) - 1
