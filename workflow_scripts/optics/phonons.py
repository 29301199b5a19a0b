"""Thermal motion of atoms: independent Gaussian displacements (the Einstein model)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def displaced(positions_a: Tensor, debye_waller_a2: Sequence[float], generator: torch.Generator) -> Tensor:
    """One snapshot of the atoms in motion; images averaged over many are those of frozen phonons.

    ⟨u²⟩ = B / 8π² along each axis, chapter 6 of Kirkland, Advanced Computing in Electron Microscopy
    (doi:10.1007/978-3-030-33260-0); the model is that of Loane, Xu and Silcox (doi:10.1107/S0108767390010121).

    Args:
        positions_a: float64 (N, 3) of the atoms at rest, Å.
        debye_waller_a2: (N,) B factors, Å².
        generator: the only source of randomness, on the CPU.

    Returns:
        float64 (N, 3), Å.
    """
    factors = torch.tensor(debye_waller_a2, dtype=torch.float64)
    steps = torch.randn(len(factors), 3, generator=generator, dtype=torch.float64)
    return positions_a + (steps * (factors / (8 * math.pi**2)).sqrt()[:, None]).to(positions_a.device)
