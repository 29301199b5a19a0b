"""What the networks and the template matchers see of a pattern: counts on rings, or the pattern turned."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from workflow_scripts.matching.networks.polar import to_polar

IN_PLANE = 72  # in-plane angles at which an estimator without equivariance sees every template
_WIDTH = 0.8  # of the Gaussian, in rings


def polar_patterns(patterns: Tensor, rings: int, angles: int) -> Tensor:
    """Patterns on rings, after a Gaussian nearly as wide as the rings are apart.

    The sum over a spot is then read near its middle, as a matched filter does, and no electron falls between two cells.
    A turn of the pattern from +x to +y by 360°/angles moves every row by one sample.

    Args:
        patterns: (N, n, n), counts or shares.
        rings: how many, from the centre to the nearest rim.
        angles: samples of [0°, 360°), from +x towards +y.

    Returns:
        (N, rings, angles), in the unit of the patterns per pixel.
    """
    outer_px = (patterns.shape[-1] - 1) / 2
    return to_polar(blurred(patterns, max(_WIDTH * outer_px / rings, 0.5)), rings, angles, 0.0, outer_px, subsamples=1)


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
    """Patterns (N, n, n) turned about their middle by angles (N,) from +x to +y, bilinear, zero beyond the rim."""
    n = patterns.shape[-1]
    angle = torch.deg2rad(angle_deg.to(patterns))[:, None, None]
    axis = torch.arange(n, device=patterns.device, dtype=patterns.dtype) - (n - 1) / 2
    y, x = axis[:, None], axis
    # A pixel of the turned pattern is read where it was before
    place = torch.stack([angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x], dim=-1)
    return functional.grid_sample(patterns[:, None], 2 * place / (n - 1), align_corners=True)[:, 0]


def at_in_plane_angles(patterns: Tensor, describe: Callable[[Tensor], Tensor]) -> Tensor:
    """What `describe` makes (N, D) of patterns (N, n, n), turned by a · 360°/A, A = 72, from +x to +y: (N, A, D)."""
    angles_deg = torch.arange(IN_PLANE, device=patterns.device) * (360.0 / IN_PLANE)
    return torch.stack([describe(turned(patterns, angle.expand(len(patterns)))) for angle in angles_deg], dim=1)


def normalised(patterns: Tensor) -> Tensor:
    """Patterns (N, n, n), each with mean 0 and variance 1."""
    centred = patterns - patterns.mean(dim=(1, 2), keepdim=True)
    return centred / centred.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-12)
