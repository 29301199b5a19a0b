"""The projected potential of atoms at rest: independent neutral atoms, on a cell that repeats."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from workflow_scripts.optics.kirkland import scattering_factor_a
from workflow_scripts.optics.waves import ELECTRON_REST_ENERGY_EV, PLANCK_SPEED_OF_LIGHT_EV_A

# h² / (2π m₀ e) in V Å²: the projected potential of one atom is its Fourier transform of f, in Å, times this.
VOLT_A2 = PLANCK_SPEED_OF_LIGHT_EV_A**2 / (2 * math.pi * ELECTRON_REST_ENERGY_EV)


def projected_slices(
    symbols: Sequence[str],
    positions_a: Tensor,
    boundaries_a: Sequence[float],
    shape: tuple[int, int],
    pixel_size_a: float,
    limit_per_a: float,
) -> Tensor:
    """Projected potential of each slice, Σ_atoms (h² / 2π m₀ e) ∫ f(q) exp(2πi q·(r − r_atom)) d²q.

    Chapter 5 of Kirkland, Advanced Computing in Electron Microscopy (doi:10.1007/978-3-030-33260-0).
    An atom belongs as a whole to the slice that holds its centre, whatever the slice's thickness. Positions are
    exact, not rounded to pixels, and the result is differentiable in y and x.

    Args:
        symbols: (N,) elements.
        positions_a: float64 (N, 3) [z, y, x] in Å; pixel [0, 0] lies at y = x = 0. y and x repeat with the cell.
        boundaries_a: (S + 1,) z in Å, rising: slice s holds boundaries[s] ≤ z < boundaries[s + 1].
        shape: (H, W) pixels of the cell.
        pixel_size_a: side of a pixel, Å.
        limit_per_a: spatial frequencies from here on are left out, Å⁻¹; at most that of Nyquist.

    Returns:
        float64 (S, H, W) in V Å.

    Raises:
        ValueError: an element is unknown, an atom lies in no slice, or the limit is beyond Nyquist.
    """
    if not 0 < limit_per_a <= 0.5 / pixel_size_a * (1 + 1e-9):
        raise ValueError(f"limit_per_a must be positive and at most {0.5 / pixel_size_a}, not {limit_per_a}")
    z, y, x = positions_a.unbind(dim=1)  # (N,) each
    if len(z) and not boundaries_a[0] <= z.min() <= z.max() < boundaries_a[-1]:
        raise ValueError(f"atoms lie outside the slices, which run from z = {boundaries_a[0]} to {boundaries_a[-1]} Å")
    inner = torch.as_tensor(boundaries_a[1:-1], dtype=z.dtype, device=z.device)
    slice_of = torch.bucketize(z.detach().contiguous(), inner, right=True)

    height, width = shape
    real = {"dtype": torch.float64, "device": positions_a.device}
    frequency_y = torch.fft.fftfreq(height, pixel_size_a, **real)
    frequency_x = torch.fft.rfftfreq(width, pixel_size_a, **real)
    squared = frequency_y[:, None].square() + frequency_x.square()  # (H, W//2 + 1)
    inside = squared < limit_per_a**2
    wave_y = torch.exp(-2j * math.pi * y[:, None] * frequency_y)  # (N, H)
    wave_x = torch.exp(-2j * math.pi * x[:, None] * frequency_x)  # (N, W//2 + 1)
    area_a2 = height * width * pixel_size_a**2
    slices = []
    for index in range(len(boundaries_a) - 1):
        spectrum = torch.zeros_like(squared, dtype=torch.complex128)
        for symbol in sorted(set(symbols)):
            of_symbol = torch.tensor([other == symbol for other in symbols], device=z.device)
            chosen = of_symbol & (slice_of == index)
            structure = wave_y[chosen].T @ wave_x[chosen]  # Σ exp(−2πi q·r)
            spectrum = spectrum + structure * scattering_factor_a(symbol, squared)
        spectrum = spectrum * inside * (VOLT_A2 / area_a2)
        slices.append(torch.fft.irfft2(spectrum, s=shape, norm="forward"))
    return torch.stack(slices)
