"""Patterns on polar grids, where a turn of the crystal about the beam is a roll along the angle."""

import functools
import math

import torch
from torch import Tensor

_BATCH = 128  # patterns at once


def ring_radii_px(rings: int, inner_px: float, outer_px: float) -> Tensor:
    """(rings,) middle radius of each ring in pixels; all rings are equally wide."""
    return inner_px + (torch.arange(rings) + 0.5) * (outer_px - inner_px) / rings


def to_polar(
    patterns: Tensor, rings: int, angles: int, inner_px: float, outer_px: float, subsamples: int = 2
) -> Tensor:
    """Mean value per pixel in the cells of a polar grid, by bilinear interpolation at points spread over each cell.

    Linear in the patterns, and differentiable. The unscattered beam hits the middle, ((H − 1) / 2, (W − 1) / 2).

    Args:
        patterns: (N, H, W) of a floating type, indexed [y, x].
        rings, angles: cells along the radius and around; cell a lies around the angle 2π a / angles from +x to +y.
        inner_px, outer_px: radii at which the first ring begins and the last ends.
        subsamples: points along the radius and around in each cell.

    Returns:
        (N, rings, angles); outside the pattern counts as 0.

    Raises:
        ValueError: the radii do not grow, or a number is below one.
    """
    if not 0 <= inner_px < outer_px:
        raise ValueError(f"0 ≤ inner_px < outer_px is expected, not {inner_px} and {outer_px}")
    if min(rings, angles, subsamples) < 1:
        raise ValueError("rings, angles and subsamples must be at least 1")
    number, height, width = patterns.shape
    if number == 0:
        return patterns.new_zeros(0, rings, angles)
    grid = (rings, angles, float(inner_px), float(outer_px), subsamples)
    weights = _weights((height, width), grid, patterns.dtype, patterns.device)
    cells = [(weights @ part.flatten(1).T).T for part in patterns.split(_BATCH)]
    return torch.cat(cells).reshape(number, rings, angles)


@functools.lru_cache(maxsize=8)
def _weights(
    shape: tuple[int, int], grid: tuple[int, int, float, float, int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Sparse (rings · angles, H · W): how much of each pixel a cell takes."""
    rings, angles, inner_px, outer_px, subsamples = grid
    radius = ring_radii_px(rings * subsamples, inner_px, outer_px).double()[:, None]
    steps = torch.arange(angles * subsamples, dtype=torch.float64)
    angle = 2 * math.pi / angles * ((steps + 0.5) / subsamples - 0.5)
    y, x = radius * angle.sin() + (shape[0] - 1) / 2, radius * angle.cos() + (shape[1] - 1) / 2
    ring, around = torch.arange(rings * subsamples) // subsamples, torch.arange(angles * subsamples) // subsamples
    cell = ring[:, None] * angles + around
    places, values = [], []
    for row in (y.floor(), y.floor() + 1):
        for column in (x.floor(), x.floor() + 1):
            weight = (1 - (y - row).abs()) * (1 - (x - column).abs()) / subsamples**2
            inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
            places.append(torch.stack([cell[inside], (row * shape[1] + column)[inside].long()]))
            values.append(weight[inside])
    matrix = torch.sparse_coo_tensor(
        torch.cat(places, dim=1),
        torch.cat(values),
        (rings * angles, shape[0] * shape[1]),
        check_invariants=True,
    )
    return matrix.coalesce().to(device, dtype)
