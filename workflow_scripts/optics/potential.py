"""The projected potential of atoms at rest: independent neutral atoms, on a cell that repeats."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from workflow_scripts.optics.kirkland import scattering_factor_a
from workflow_scripts.optics.multislice import PixelSize, sides
from workflow_scripts.optics.waves import ELECTRON_REST_ENERGY_EV, PLANCK_SPEED_OF_LIGHT_EV_A

# h² / (2π m₀ e) in V Å²: the projected potential of one atom is its Fourier transform of f, in Å, times this.
VOLT_A2 = PLANCK_SPEED_OF_LIGHT_EV_A**2 / (2 * math.pi * ELECTRON_REST_ENERGY_EV)


def projected_slices(
    symbols: Sequence[str],
    positions_a: Tensor,
    boundaries_a: Sequence[float],
    shape: tuple[int, int],
    pixel_size_a: PixelSize,
    limit_per_a: float,
    debye_waller_a2: Sequence[float] | None = None,
) -> Tensor:
    """Projected potential of each slice, Σ_atoms (h² / 2π m₀ e) ∫ f(q) exp(2πi q·(r − r_atom)) d²q.

    Chapter 5 of Kirkland, Advanced Computing in Electron Microscopy (doi:10.1007/978-3-030-33260-0).
    The whole atom is assigned to the slice that contains its centre, however thin the slice. Positions are exact,
    not rounded to pixels, and the result is differentiable in y and x.

    Args:
        symbols: (N,) elements.
        positions_a: float64 (N, 3) [z, y, x] in Å; pixel [0, 0] lies at y = x = 0. y and x repeat with the cell.
        boundaries_a: (S + 1,) z in Å, ascending: slice s holds boundaries[s] ≤ z < boundaries[s + 1].
        shape: (H, W) pixels of the cell.
        pixel_size_a: of the grid, Å.
        limit_per_a: spatial frequencies from this one on are left out, Å⁻¹; at most the Nyquist frequency.
        debye_waller_a2: (N,) B factors of the atoms, Å²: each is smeared by its thermal motion, exp(−B q² / 4) in
            reciprocal space; None leaves the atoms at rest.

    Returns:
        float64 (S, H, W) in V Å.

    Raises:
        ValueError: an element is unknown, an atom lies in no slice, or the limit is beyond Nyquist.
    """
    nyquist_per_a = 0.5 / max(sides(pixel_size_a))
    if not 0 < limit_per_a <= nyquist_per_a * (1 + 1e-9):
        raise ValueError(f"limit_per_a must be positive and at most {nyquist_per_a}, not {limit_per_a}")
    z, y, x = positions_a.unbind(dim=1)  # (N,) each
    if len(z) and not boundaries_a[0] <= z.min() <= z.max() < boundaries_a[-1]:
        raise ValueError(f"atoms lie outside the slices, which run from z = {boundaries_a[0]} to {boundaries_a[-1]} Å")
    inner = torch.as_tensor(boundaries_a[1:-1], dtype=z.dtype, device=z.device)
    slice_of = torch.bucketize(z.detach().contiguous(), inner, right=True)

    height, width = shape
    real = {"dtype": torch.float64, "device": positions_a.device}
    pixel_y_a, pixel_x_a = sides(pixel_size_a)
    frequency_y = torch.fft.fftfreq(height, pixel_y_a, **real)
    frequency_x = torch.fft.rfftfreq(width, pixel_x_a, **real)
    squared = frequency_y[:, None].square() + frequency_x.square()  # (H, W//2 + 1)
    inside = squared < limit_per_a**2
    wave_y = torch.exp(-2j * math.pi * y[:, None] * frequency_y)  # (N, H)
    wave_x = torch.exp(-2j * math.pi * x[:, None] * frequency_x)  # (N, W//2 + 1)
    area_a2 = height * width * pixel_y_a * pixel_x_a
    kinds = list(zip(symbols, debye_waller_a2 or [0.0] * len(symbols), strict=True))
    factors = {
        (symbol, b_a2): scattering_factor_a(symbol, squared) * torch.exp(-b_a2 / 4 * squared)
        for symbol, b_a2 in sorted(set(kinds))
    }
    members = {kind: torch.tensor([other == kind for other in kinds], device=z.device) for kind in factors}
    slices = []
    for index in range(len(boundaries_a) - 1):
        spectrum = torch.zeros_like(squared, dtype=torch.complex128)
        for kind, factor in factors.items():
            chosen = members[kind] & (slice_of == index)
            if chosen.any():
                structure = wave_y[chosen].T @ wave_x[chosen]  # Σ exp(−2πi q·r)
                spectrum = spectrum + structure * factor
        spectrum = spectrum * inside * (VOLT_A2 / area_a2)
        slices.append(torch.fft.irfft2(spectrum, s=shape, norm="forward"))
    return torch.stack(slices)
