"""Patterns on polar grids, where a turn of the crystal about the beam is a roll along the angle."""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

_SAMPLES = 2**20  # points at once where each pattern has its own centre
_BATCH = 128  # patterns at once where all share one


def ring_radii_px(rings: int, inner_px: float, outer_px: float) -> Tensor:
    """(rings,) middle radius of each ring in pixels; all rings are equally wide."""
    return inner_px + (torch.arange(rings) + 0.5) * (outer_px - inner_px) / rings


def to_polar(
    patterns: Tensor,
    rings: int,
    angles: int,
    inner_px: float,
    outer_px: float,
    centre_px: tuple[float, float] | Tensor | None = None,
    subsamples: int = 2,
) -> Tensor:
    """Mean value per pixel in the cells of a polar grid, by bilinear interpolation at points spread over each cell.

    Linear in the patterns, and differentiable; fastest where all patterns have one centre.

    Args:
        patterns: (N, H, W) of a floating type, indexed [y, x].
        rings, angles: cells along the radius and around; cell a lies around the angle 2π a / angles from +x to +y.
        inner_px, outer_px: radii at which the first ring begins and the last ends.
        centre_px: [y, x] of the unscattered beam, one pair for all or a tensor (N, 2); by default the middle,
            ((H − 1) / 2, (W − 1) / 2).
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
    if isinstance(centre_px, Tensor):
        return _around_each(patterns, centre_px.to(patterns).expand(number, 2), grid)
    centre = ((height - 1) / 2, (width - 1) / 2) if centre_px is None else (float(centre_px[0]), float(centre_px[1]))
    weights = _weights((height, width), grid, centre, patterns.dtype, patterns.device)
    cells = [(weights @ part.flatten(1).T).T for part in patterns.split(_BATCH)]
    return torch.cat(cells).reshape(number, rings, angles)


def _offsets(grid: tuple[int, int, float, float, int]) -> tuple[Tensor, Tensor]:
    """y and x from the centre of the points, float64 (rings · subsamples, angles · subsamples)."""
    rings, angles, inner_px, outer_px, subsamples = grid
    radius = ring_radii_px(rings * subsamples, inner_px, outer_px).double()[:, None]
    steps = torch.arange(angles * subsamples, dtype=torch.float64)
    angle = 2 * math.pi / angles * ((steps + 0.5) / subsamples - 0.5)
    return radius * angle.sin(), radius * angle.cos()


@functools.lru_cache(maxsize=8)
def _weights(
    shape: tuple[int, int],
    grid: tuple[int, int, float, float, int],
    centre: tuple[float, float],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Sparse (rings · angles, H · W): how much of each pixel a cell takes."""
    rings, angles, _, _, subsamples = grid
    y, x = (offset + middle for offset, middle in zip(_offsets(grid), centre, strict=True))
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


def _around_each(patterns: Tensor, centre_px: Tensor, grid: tuple[int, int, float, float, int]) -> Tensor:
    """As `to_polar`, with a centre for each pattern (N, 2) [y, x]."""
    y, x = _offsets(grid)
    offset = torch.stack([x, y], dim=-1).to(patterns)
    height, width = patterns.shape[1:]
    size = torch.tensor([width - 1, height - 1]).to(patterns)
    cells = []
    batch = max(1, _SAMPLES // x.numel())
    for part, centre in zip(patterns.split(batch), centre_px.split(batch), strict=True):
        points = (offset + centre.flip(-1)[:, None, None]) * (2 / size) - 1
        values = functional.grid_sample(part[:, None], points, mode="bilinear", align_corners=True)
        cells.append(functional.avg_pool2d(values, grid[-1])[:, 0])
    return torch.cat(cells)
