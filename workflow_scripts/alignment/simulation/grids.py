"""Densities on square and cubic grids: background subtraction and resampling."""

import math

import torch
from torch import Tensor

_EDGE = 0.1  # fraction of the radius over which the rim is faded out


def fade_out(density: Tensor) -> Tensor:
    """The density less the level of its rim, faded to 0 outside the inscribed circle or ball.

    The level is the median beyond 0.95 of the radius; the outer tenth of the radius is tapered by a cosine.

    Args:
        density: (n, n) or (n, n, n).
    """
    n = density.shape[-1]
    axis = torch.arange(n, dtype=torch.float32) - n // 2
    radius = sum(axis.square().reshape([-1] + [1] * index) for index in range(density.ndim)).sqrt() / ((n - 1) // 2)
    level = density[(radius > 0.95) & (radius <= 1)].median()
    return (density - level) * (0.5 + 0.5 * torch.cos(math.pi * ((radius - 1) / _EDGE + 1).clamp(0, 1)))


def resampled(density: Tensor, n: int) -> Tensor:
    """A periodic density resampled to n points a side in the same box; its centre is at [n//2, …].

    Its Fourier transform is cropped or padded with zeros, so that frequencies on both grids are unchanged. The Nyquist
    frequency of an even grid is left out.

    Args:
        density: float32 (m, m) or (m, m, m).

    Returns:
        float32 (n, n) or (n, n, n), with the same mean.
    """
    m, axes = density.shape[-1], tuple(range(density.ndim))
    if m == n:
        return density
    common = (min(m, n) - 1) // 2
    spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(density)))
    target = torch.zeros([n] * density.ndim, dtype=spectrum.dtype)
    inside, outside = (slice(size // 2 - common, size // 2 + common + 1) for size in (m, n))
    target[(outside,) * density.ndim] = spectrum[(inside,) * density.ndim]
    values = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(target), dim=axes)).real
    return values * (n / m) ** density.ndim
