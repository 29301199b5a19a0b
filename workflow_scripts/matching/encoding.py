"""What the networks and the template matcher see of a pattern: counts on rings, and sharpened Cartesian patterns."""

import math

import torch
from torch import Tensor
from torch.nn import functional

_BATCH = 512


def polar_patterns(patterns: Tensor, rings: int, angles: int) -> Tensor:
    """Patterns on rings about [n//2, n//2], the intensity in a neighbourhood as wide as the rings are apart.

    A Gaussian of that width comes before the bilinear reading: no electron falls between two samples, and the sum over
    a spot is read at its middle, as a matched filter does. A turn of the pattern from +x to +y by 360°/angles moves
    every row by one sample.

    Args:
        patterns: (N, n, n), counts or shares.
        rings: how many, evenly spaced from the centre (not on it) to n//2 − 1 px.
        angles: samples of [0°, 360°), from +x towards +y.

    Returns:
        (N, rings, angles), in the unit of the patterns per pixel.
    """
    n = patterns.shape[-1]
    step = (n // 2 - 1) / rings
    radius = step * torch.arange(1, rings + 1, device=patterns.device)[:, None]
    theta = torch.arange(angles, device=patterns.device) * (2 * math.pi / angles)
    place = torch.stack([radius * torch.cos(theta), radius * torch.sin(theta)], dim=-1) + n // 2
    grid = 2 * place / (n - 1) - 1  # (R, A, 2), x before y
    rows = []
    for batch in patterns.split(_BATCH):
        smooth = blurred(batch, max(step, 0.7))[:, None]
        rows.append(functional.grid_sample(smooth, grid.expand(len(batch), -1, -1, -1), align_corners=True)[:, 0])
    return torch.cat(rows)


def blurred(patterns: Tensor, sigma_px: float) -> Tensor:
    """Patterns (N, n, n) convolved with a Gaussian of unit sum, nothing beyond the rim."""
    reach = math.ceil(3 * sigma_px)
    axis = torch.arange(-reach, reach + 1, device=patterns.device, dtype=patterns.dtype)
    kernel = torch.exp(-0.5 * (axis / sigma_px).square())
    kernel = kernel / kernel.sum()
    rows = functional.conv2d(patterns[:, None], kernel[None, None, :, None], padding=(reach, 0))
    return functional.conv2d(rows, kernel[None, None, None], padding=(0, reach))[:, 0]


def stabilised(polar: Tensor, gamma: float = 0.5) -> Tensor:
    """Polar patterns (N, R, A) to the power gamma (1/2 makes the variance of counts even), of mean square 1."""
    raised = polar.clamp_min(0) ** gamma
    return raised / raised.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-12)


def turned(patterns: Tensor, angle_deg: Tensor) -> Tensor:
    """Patterns (N, n, n) turned about [n//2, n//2] by angles (N,) from +x to +y, bilinear, zero beyond the rim."""
    n = patterns.shape[-1]
    angle = torch.deg2rad(angle_deg.to(patterns))[:, None, None]
    axis = torch.arange(n, device=patterns.device, dtype=patterns.dtype) - n // 2
    y, x = axis[:, None], axis
    # A pixel of the turned pattern is read where it was before
    place = torch.stack([angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x], dim=-1) + n // 2
    return functional.grid_sample(patterns[:, None], 2 * place / (n - 1) - 1, align_corners=True)[:, 0]
