"""Multislice: a wave through a thick object, slice by slice (doi:10.1107/S0365110X57002194).

The equations are those of chapter 6 of Kirkland, Advanced Computing in Electron Microscopy
(doi:10.1007/978-3-030-33260-0).

Waves and slices share one grid that repeats. Products of two functions on it would alias, so transmission
and propagation keep only frequencies below ``BAND_LIMIT`` of Nyquist: what lies below it is exact.
Everything is differentiable and batched over leading dimensions. A pixel may be a rectangle: its size is one
number, or [height, width].
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from workflow_scripts.optics.waves import interaction_parameter, wavelength_a

BAND_LIMIT = 2 / 3  # of the Nyquist frequency
PixelSize = float | tuple[float, float]


def sides(pixel_size_a: PixelSize) -> tuple[float, float]:
    """Height and width of a pixel, Å."""
    return pixel_size_a if isinstance(pixel_size_a, tuple) else (pixel_size_a, pixel_size_a)


def transmission(potential: Tensor, pixel_size_a: PixelSize, voltage_kv: float) -> Tensor:
    """exp(iσV) of each slice, limited to the band.

    Args:
        potential: real (..., H, W), projected, V Å.
        pixel_size_a: of the grid, Å.
        voltage_kv: of the electrons, kV.

    Returns:
        complex (..., H, W).
    """
    phase = interaction_parameter(voltage_kv) * potential
    whole = torch.polar(torch.ones_like(phase), phase)
    return _filtered(whole, in_band(frequency_squared(potential, pixel_size_a), pixel_size_a))


def fresnel_propagator(
    like: Tensor,
    distance_a: float,
    pixel_size_a: PixelSize,
    voltage_kv: float,
    offset_per_a: tuple[float, float] = (0.0, 0.0),
    tilt_mrad: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """exp(−iπλ |q + q₀ + t/λ|² Δz) inside the band, zero outside.

    Args:
        like: a wave (..., H, W): its shape, precision and device.
        distance_a: Δz in Å; negative goes back.
        pixel_size_a: of the grid, Å.
        voltage_kv: of the electrons, kV.
        offset_per_a: q₀ [y, x], Å⁻¹: the wave is exp(2πi q₀·r) times the values on the grid (Bloch's theorem).
        tilt_mrad: t [y, x] of the beam against the normal of the slices; the grid follows the beam, so that the
            detector's centre stays at q = 0.

    Returns:
        complex (H, W), zero frequency at [0, 0].
    """
    band = in_band(frequency_squared(like, pixel_size_a, offset_per_a), pixel_size_a)
    wavelength = wavelength_a(voltage_kv)
    tilted = tuple(offset + 1e-3 * tilt / wavelength for offset, tilt in zip(offset_per_a, tilt_mrad, strict=True))
    phase = -math.pi * wavelength * distance_a * frequency_squared(like, pixel_size_a, tilted)
    return torch.polar(band.to(phase), phase).to(like)


def band_limit_per_a(pixel_size_a: PixelSize) -> float:
    """The largest spatial frequency that a grid carries without aliasing, Å⁻¹, in every direction."""
    return BAND_LIMIT * 0.5 / max(sides(pixel_size_a))


def in_band(squared: Tensor, pixel_size_a: PixelSize) -> Tensor:
    """Whether a squared spatial frequency, Å⁻², lies below the band limit of a grid: bool, of the same shape."""
    return squared < band_limit_per_a(pixel_size_a) ** 2


def frequency_squared(like: Tensor, pixel_size_a: PixelSize, offset_per_a: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """|q + q₀|² in Å⁻² of a grid (..., H, W): float64 (H, W), q = 0 at [0, 0]."""
    axes = []
    for side, pixel, offset in zip(like.shape[-2:], sides(pixel_size_a), offset_per_a, strict=True):
        axes.append(torch.fft.fftfreq(side, pixel, dtype=torch.float64, device=like.device) + offset)
    return axes[0][:, None].square() + axes[1].square()


def propagate(wave: Tensor, distance_a: float, pixel_size_a: PixelSize, voltage_kv: float) -> Tensor:
    """The wave (..., H, W) after ``distance_a`` Å of vacuum, limited to the band."""
    return _filtered(wave, fresnel_propagator(wave, distance_a, pixel_size_a, voltage_kv))


def multislice(
    wave: Tensor,
    transmissions: Sequence[Tensor],
    distances_a: Sequence[float],
    pixel_size_a: PixelSize,
    voltage_kv: float,
) -> Tensor:
    """The wave right behind the last slice.

    Args:
        wave: complex (..., H, W) that falls on the first slice, such as a batch of probes.
        transmissions: S of :func:`transmission`, each of a shape that broadcasts against the wave.
        distances_a: (S − 1,) from each slice to the next, Å.
        pixel_size_a: of the grid, Å.
        voltage_kv: of the electrons, kV.

    Returns:
        complex (..., H, W); clean below the band limit, aliased beyond it.

    Raises:
        ValueError: the number of distances is not one less than the number of slices.
    """
    if len(distances_a) != len(transmissions) - 1:
        raise ValueError(f"{len(transmissions)} slices have {len(transmissions) - 1} distances, not {len(distances_a)}")
    wave = wave * transmissions[0]
    for distance_a, later in zip(distances_a, transmissions[1:], strict=True):
        wave = propagate(wave, distance_a, pixel_size_a, voltage_kv) * later
    return wave


def _filtered(wave: Tensor, kernel: Tensor) -> Tensor:
    return torch.fft.ifft2(torch.fft.fft2(wave) * kernel)
