"""The forward model of the method: from a phase to counts, to the input and the target of a network.

Grids: an object has (n, n) pixels with the probe at [n//2, n//2]; the fine grid is ``upsampling`` times
finer: ``UPSAMPLING`` for a focused probe, less for one that fills more of the window. A patch is (n, n) on
the fine grid, its pixel [n//2, n//2] at the probe centre, so it spans the central n / upsampling object pixels.
"""

import math

import torch
from torch import Tensor

from workflow_scripts.optics.diffraction import diffraction_pattern, far_field
from workflow_scripts.optics.noise import poisson_counts

UPSAMPLING = 4
MASK_THRESHOLD = 0.16  # of the probe's largest intensity
_SCAN_BATCH = 256


def patch_offsets_px(n: int, upsampling: int = UPSAMPLING) -> Tensor:
    """Offsets of a patch's pixels from the probe centre in object pixels, float64 (n,)."""
    return (torch.arange(n, dtype=torch.float64) - n // 2) / upsampling


def cubic_weights(fraction: Tensor) -> Tensor:
    """Weights of the samples at −1, 0, 1, 2 for a point ``fraction`` ∈ [0, 1) past sample 0.

    Cubic convolution with a = −½ (doi:10.1109/TASSP.1981.1163711): exact for quadratics.

    Args:
        fraction: (...).

    Returns:
        (..., 4), summing to 1.
    """
    f = fraction
    return torch.stack(
        [
            ((-0.5 * f + 1) * f - 0.5) * f,
            (1.5 * f - 2.5) * f * f + 1,
            ((-1.5 * f + 2) * f + 0.5) * f,
            (0.5 * f - 0.5) * f * f,
        ],
        dim=-1,
    )


def cubic_matrix(point_px: Tensor, n: int) -> Tensor:
    """The matrix A, float64 (P, n), that reads n samples at real-valued points (P,); its rows sum to 1."""
    below = point_px.floor()
    columns = below.long()[:, None] + torch.arange(-1, 3)  # (P, 4)
    matrix = torch.zeros(len(point_px), n, dtype=torch.float64)
    return matrix.scatter_add_(1, columns.clamp(0, n - 1), cubic_weights(point_px - below))


def true_patch(phase: Tensor, upsampling: int = UPSAMPLING) -> Tensor:
    """The patch of an object on the fine grid, the mean not yet removed.

    Args:
        phase: (..., n, n) in rad.

    Returns:
        (..., n, n) in rad.
    """
    n = phase.shape[-1]
    matrix = cubic_matrix(patch_offsets_px(n, upsampling) + n // 2, n).to(phase)
    return matrix @ phase @ matrix.T


def patch_illumination(probe: Tensor, upsampling: int = UPSAMPLING) -> Tensor:
    """|P|² over a patch, interpolated by Fourier series.

    Args:
        probe: complex (n, n), centred at [n//2, n//2].

    Returns:
        (n, n) on the fine grid; over a grid that holds all of the probe it sums to upsampling² ∑|P|².
    """
    n = probe.shape[-1]
    frequency = torch.arange(n, dtype=torch.float64, device=probe.device) - n // 2
    point = patch_offsets_px(n, upsampling).to(probe.device)
    series = torch.exp(2j * torch.pi * point[:, None] * frequency / n).to(probe.dtype)  # (n, n)
    fine = series @ far_field(probe) @ series.T / n  # (n, n) complex
    return fine.real.square() + fine.imag.square()


def patch_mask(probe: Tensor, upsampling: int = UPSAMPLING) -> Tensor:
    """The pixels of a patch that are illuminated enough to be predicted: bool (n, n) on the fine grid.

    Args:
        probe: complex (n, n), centred at [n//2, n//2].
    """
    illumination = patch_illumination(probe, upsampling)
    brightest = torch.maximum(illumination.max(), probe.abs().square().max())  # that may lie outside the patch
    return illumination > MASK_THRESHOLD * brightest


def lit_share(probe: Tensor, upsampling: int = UPSAMPLING) -> float:
    """Share of the electrons that fall inside the mask of a patch.

    Args:
        probe: complex (n, n), centred at [n//2, n//2], ∑|P|² = 1.
    """
    inside = patch_illumination(probe, upsampling)[patch_mask(probe, upsampling)]
    return float(inside.sum()) / upsampling**2


def remove_mask_mean(patches: Tensor, mask: Tensor) -> Tensor:
    """Patches (..., n, n) minus their mean over the mask (n, n); zero outside the mask."""
    weight = mask.to(patches)
    mean = (patches * weight).sum(dim=(-2, -1), keepdim=True) / weight.sum()
    return (patches - mean) * weight


def measure(probe: Tensor, phase: Tensor, dose_e: Tensor | float, generator: torch.Generator) -> Tensor:
    """Poisson counts (..., n, n) of the phase objects (..., n, n), rad, for ``dose_e`` electrons per pattern."""
    return poisson_counts(diffraction_pattern(probe, phase), dose_e, generator)


def network_input(counts: Tensor, dose_e: Tensor | float | None) -> Tensor:
    """The input of a network: n √(counts / dose), of order 1 whatever the dose; √counts if none is given.

    Args:
        counts: (..., n, n).
        dose_e: electrons per pattern, broadcasting against ``counts``; None for the published input.

    Returns:
        (..., n, n).
    """
    if dose_e is None:
        return counts.sqrt()
    return (counts / dose_e).sqrt() * counts.shape[-1]


def window_at(
    fine_object: Tensor, positions_px: Tensor, n: int, spacing: int, upsampling: int = UPSAMPLING, checked: bool = True
) -> Tensor:
    """Samples of a large object around real-valued positions, by cubic convolution on the fine grid.

    All n × n samples of a window share one sub-pixel fraction, so the four taps along each axis are a
    contiguous block. With ``spacing`` = upsampling they are the object pixels under the probe, with 1 the
    fine pixels of a patch.

    Args:
        fine_object: (H, W), upsampling samples per object pixel; sample [0, 0] lies at position (0, 0).
        positions_px: (N, 2) as [y, x] in object pixels: where the sample [n//2, n//2] of each window lies.
        n: samples along each side of a window.
        spacing: fine pixels between samples.
        checked: for windows that are known to lie inside it can be False: the CPU waits for a GPU to check them.

    Returns:
        (N, n, n), differentiable in ``fine_object``.

    Raises:
        ValueError: a window leaves the object.
    """
    corner = positions_px.double() * upsampling - spacing * (n // 2)  # (N, 2) of sample [0, 0]
    below = corner.floor()
    weight_y, weight_x = cubic_weights(corner - below).to(fine_object.dtype).unbind(dim=1)  # (N, 4) each
    first = below.long() - 1
    last = first + spacing * (n - 1) + 3
    if checked and ((first < 0).any() or (last >= torch.tensor(fine_object.shape).to(last)).any()):
        raise ValueError("a scan position lies so close to the border that its window leaves the object")
    tap = (spacing * torch.arange(n, device=first.device)[:, None] + torch.arange(4, device=first.device)).ravel()
    rows, columns = first[:, :1] + tap, first[:, 1:] + tap  # (N, 4 n) each
    block = fine_object[rows[:, :, None], columns[:, None, :]]  # (N, 4 n, 4 n)
    block = block.reshape(-1, n, 4, n, 4)
    return torch.einsum("pyaxb,pa,pb->pyx", block, weight_y, weight_x)


def rotated(positions: Tensor, angle_deg: float) -> Tensor:
    """Positions float64 (N, 2) [y, x], rotated from +x to +y about (0, 0)."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return positions @ torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64).T


def simulate_scan(
    probe: Tensor, fine_object: Tensor, positions_px: Tensor, dose_e: Tensor | float, generator: torch.Generator
) -> Tensor:
    """Counts of a scan over a large phase object.

    Args:
        probe: complex (n, n).
        fine_object: (H, W) in rad on the fine grid.
        positions_px: (N, 2) as [y, x] in object pixels.
        dose_e: electrons per pattern; (D, 1, 1, 1) counts the scan at D doses.
        generator: source of the Poisson noise.

    Returns:
        (N, n, n), or (D, N, n, n).
    """
    n = probe.shape[-1]
    phases = (window_at(fine_object, part, n, UPSAMPLING) for part in positions_px.split(_SCAN_BATCH))
    return torch.cat([measure(probe, phase, dose_e, generator) for phase in phases], dim=-3)
