"""A large image as cubic B-splines with one coefficient per object pixel, sampled at points or on a finer grid.

Along each axis the value at y is Σ_t b_t(f) c[⌊y⌋ − 1 + t] with f = y − ⌊y⌋ and four weights b
(doi:10.1109/79.799930): twice continuously differentiable, and linear in c.
"""

import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.layout import lay_out
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination

TAPS = 4


def spline_weights(fraction: Tensor) -> Tensor:
    """Weights (..., 4) of the coefficients at −1, 0, 1, 2 for a point ``fraction`` ∈ [0, 1) past coefficient 0."""
    f = fraction
    return torch.stack([(1 - f) ** 3, (3 * f - 6) * f * f + 4, ((3 - 3 * f) * f + 3) * f + 1, f**3], dim=-1) / 6


def spline_slopes(fraction: Tensor) -> Tensor:
    """The derivatives (..., 4) of `spline_weights`, per object pixel."""
    f = fraction
    return torch.stack([-((1 - f) ** 2), (3 * f - 4) * f, (2 - 3 * f) * f + 1, f * f], dim=-1) / 2


def taps(points: Tensor) -> tuple[Tensor, Tensor]:
    """For each coordinate the index of its first coefficient, int64, and its fraction past the second, in [0, 1)."""
    below = points.floor()
    return below.long() - 1, points - below


def refined(coefficients: Tensor, upsampling: int) -> Tensor:
    """The image on a finer grid: (H, W) coefficients to (upsampling · (H − 3), upsampling · (W − 3)).

    Fine pixel [0, 0] lies on coefficient [1, 1]: nearer to the edges four neighbouring coefficients do not exist.
    """
    fraction = torch.arange(upsampling, dtype=coefficients.dtype, device=coefficients.device) / upsampling
    weights = spline_weights(fraction)  # (u, 4)
    image = coefficients
    for _ in range(2):
        neighbours = image.unfold(0, TAPS, 1)  # (H − 3, W, 4)
        image = torch.einsum("hwt,ut->huw", neighbours, weights).flatten(0, 1).T  # one axis refined, then the other
    return image


def as_stitched(
    coefficients: Tensor, origin: tuple[int, int], positions_px: Tensor, light: Illumination, iterations: int
) -> Stitched:
    """The image in the form of stitched patches: defined where the masks of the patches lie, with mean zero there.

    Args:
        coefficients: (H, W) rad; they must reach two object pixels beyond the masks.
        origin: object pixel (y, x) of coefficient [0, 0].
        positions_px: (N, 2) [y, x], object pixels.
        iterations: of the estimator.
    """
    n, upsampling = light.n, light.upsampling
    zeros = torch.zeros(1, 1, 1).expand(len(positions_px), n, n)
    layout, _ = lay_out(zeros, positions_px.cpu(), light.patch_weights(), upsampling)
    coverage = layout.crop(layout.scatter(layout.weights.expand(len(positions_px), -1)))
    top, left = (upsampling * (first - start - 1) for first, start in zip(layout.origin, origin, strict=True))
    fine = refined(coefficients.cpu(), upsampling)[top : top + coverage.shape[0], left : left + coverage.shape[1]]
    covered = coverage > 0
    phase = torch.where(covered, fine - fine[covered].mean(), torch.nan)
    return Stitched(phase, coverage, layout.origin, upsampling, iterations)
