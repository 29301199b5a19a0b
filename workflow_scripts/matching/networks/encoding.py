"""Inputs of the networks and the template matchers: patterns on a polar grid, rotated, blurred or normalised."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

IN_PLANE = 72  # in-plane angles at which templates are computed for an estimator that is not equivariant
_WIDTH = 0.8  # standard deviation of the Gaussian, in ring spacings
_BATCH = 128  # patterns resampled at once


def polar_patterns(patterns: Tensor, rings: int, angles: int) -> Tensor:
    """Patterns on a polar grid by bilinear interpolation, after a Gaussian blur nearly as wide as the ring spacing.

    The blur acts as a matched filter: a point near the middle of a spot gets the sum over the spot, and no electron
    falls between two points. A rotation of the pattern from +x to +y by 360°/angles moves every row by one sample.
    Linear.

    Args:
        patterns: (N, n, n), counts or shares.
        rings: number of rings from the centre to the nearest rim.
        angles: samples of [0°, 360°), from +x towards +y.

    Returns:
        (N, rings, angles), in the unit of the patterns per pixel.
    """
    side_px = patterns.shape[-1]
    outer_px = (side_px - 1) / 2
    smooth = blurred(patterns, max(_WIDTH * outer_px / rings, 0.5))
    weights = _polar_weights(side_px, rings, angles, patterns.dtype, patterns.device)
    parts = [(weights @ part.flatten(1).T).T for part in smooth.split(_BATCH)]
    return torch.cat(parts).reshape(len(patterns), rings, angles)


@functools.lru_cache(maxsize=8)
def _polar_weights(side_px: int, rings: int, angles: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sparse (rings · angles, n²): the bilinear weight of each pixel at the points of the polar grid."""
    middle = (side_px - 1) / 2
    radius = ((torch.arange(rings) + 0.5) * middle / rings).double()[:, None]
    angle = 2 * math.pi / angles * torch.arange(angles, dtype=torch.float64)
    y, x = radius * angle.sin() + middle, radius * angle.cos() + middle  # (rings, angles)
    point = torch.arange(rings * angles)
    places, values = [], []
    for row in (y.floor(), y.floor() + 1):
        for column in (x.floor(), x.floor() + 1):
            places.append(torch.stack([point, (row * side_px + column).long().flatten()]))
            values.append(((1 - (y - row).abs()) * (1 - (x - column).abs())).flatten())
    shape = (rings * angles, side_px**2)
    matrix = torch.sparse_coo_tensor(torch.cat(places, dim=1), torch.cat(values), shape, check_invariants=True)
    return matrix.coalesce().to(device, dtype)


def blurred(patterns: Tensor, sigma_px: float) -> Tensor:
    """Patterns (N, n, n), zero beyond the edges, convolved with a Gaussian of unit sum."""
    reach = math.ceil(3 * sigma_px)
    axis = torch.arange(-reach, reach + 1, device=patterns.device, dtype=patterns.dtype)
    kernel = torch.exp(-0.5 * (axis / sigma_px).square())
    kernel = kernel / kernel.sum()
    rows = functional.conv2d(patterns[:, None], kernel[None, None, :, None], padding=(reach, 0))
    return functional.conv2d(rows, kernel[None, None, None], padding=(0, reach))[:, 0]


def stabilised(polar: Tensor, gamma: float = 0.5) -> Tensor:
    """Polar patterns (N, R, A) to the power gamma (1/2 stabilises the variance of counts), with mean square 1."""
    raised = polar.clamp_min(0) ** gamma
    return raised / raised.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-12)


def rotated(patterns: Tensor, angle_deg: Tensor) -> Tensor:
    """Patterns (N, n, n), zero beyond the edges, rotated about their middle by angles (N,) from +x to +y, bilinear."""
    n = patterns.shape[-1]
    angle = torch.deg2rad(angle_deg.to(patterns))[:, None, None]
    axis = torch.arange(n, device=patterns.device, dtype=patterns.dtype) - (n - 1) / 2
    y, x = axis[:, None], axis
    # Where each pixel of the rotated pattern was before
    place = torch.stack([angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x], dim=-1)
    return functional.grid_sample(patterns[:, None], 2 * place / (n - 1), align_corners=True)[:, 0]


def at_in_plane_angles(patterns: Tensor, describe: Callable[[Tensor], Tensor]) -> Tensor:
    """Descriptions (N, D) of patterns (N, n, n) rotated by a · 360°/A, A = 72, from +x to +y: (N, A, D)."""
    angles_deg = torch.arange(IN_PLANE, device=patterns.device) * (360.0 / IN_PLANE)
    return torch.stack([describe(rotated(patterns, angle.expand(len(patterns)))) for angle in angles_deg], dim=1)


def normalised(patterns: Tensor) -> Tensor:
    """Patterns (N, n, n), each with mean 0 and variance 1."""
    centred = patterns - patterns.mean(dim=(1, 2), keepdim=True)
    return centred / centred.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-12)
