"""Dynamical diffraction patterns by Bloch waves: every beam exchanges electrons with every other."""

import math

import torch
from torch import Tensor

from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.crystals import Crystal
from workflow_scripts.matching.simulation.kinematic import Simulator, Spots, inverse_extinction_per_a
from workflow_scripts.matching.simulation.structure_factors import structure_factors

_BATCH = 16  # patterns at once
_KEPT = 3e-4  # a spot is left out below this share of the strongest of its pattern


class BlochSimulator(Simulator):
    """As `Simulator`, but with the intensities of Bloch waves instead of kinematic ones.

    The amplitudes of the incident beam and of N − 1 diffracted ones obey the Darwin–Howie–Whelan equations (De Graef,
    Introduction to Conventional Transmission Electron Microscopy, doi:10.1017/CBO9780511615092) without absorption,

        dψ_g / dz = iπ (2 s_g ψ_g + Σ_h ψ_h / ξ_{g−h}),

    a Hermitian matrix, whose eigenvectors are the Bloch waves. The mean inner potential only changes a common phase.

    Args:
        beams: N; those are taken whose kinematic intensity can be largest.
    """

    def __init__(
        self, crystal: Crystal, diffraction: DiffractionSettings, device: torch.device | str = "cpu", beams: int = 120
    ) -> None:
        super().__init__(crystal, diffraction, device)
        self._beams = min(beams - 1, len(self.hkl))
        # Of all differences of beams; beyond 12 1/Å, where the scattering factors end, there is nothing to scatter.
        coupling = structure_factors(crystal, min(2 * diffraction.largest_per_a, 12.0))
        reach = int(coupling.hkl.abs().max())
        table = torch.zeros((2 * reach + 1,) * 3, dtype=torch.complex128)
        inverse = inverse_extinction_per_a(coupling.structure_factor_a, coupling.volume_a3, diffraction.voltage_kv)
        table[tuple((coupling.hkl + reach).T)] = inverse
        self._reach, self._table = reach, table.to(self.device)

    def spots(self, rotations: Tensor, thickness_nm: Tensor | None = None) -> Spots:
        """The excited reflections; arguments and result as of `Simulator.spots`."""
        domains = rotations.shape[1] if rotations.ndim == 4 else 1
        rotations = rotations.to(self.device, torch.float64).reshape(-1, domains, 3, 3)
        if thickness_nm is None:
            thickness_nm = torch.full((len(rotations),), self.diffraction.thickness_nm)
        thickness_a = (10 * thickness_nm.to(rotations)).repeat_interleave(domains)
        batches = zip(rotations.flatten(0, 1).split(_BATCH), thickness_a.split(_BATCH), strict=True)
        position, intensity = (torch.cat(parts) for parts in zip(*(self._waves(*b) for b in batches), strict=True))
        # (N · D, K) → (N, D · K), the strongest first
        shape = len(rotations), domains * self._beams
        intensity, order = (intensity.view(shape) / domains).sort(dim=1, descending=True)
        position = position.view(*shape, 2).gather(1, order[..., None].expand(-1, -1, 2))
        intensity = intensity * (intensity > _KEPT * intensity[:, :1])
        return Spots(position.float(), intensity.float())

    def _waves(self, rotations: Tensor, thickness_a: Tensor) -> tuple[Tensor, Tensor]:
        """Places [y, x] (M, N − 1, 2), 1/Å, and intensities (M, N − 1) of the diffracted beams."""
        g, squared = self.g_per_a.double(), self.g_squared.double()
        error = self.excitation_error_per_a(rotations[:, 2] @ g.T, squared)
        envelope = self.inverse_extinction_per_a**2 / (thickness_a[:, None] ** -2 + (math.pi * error).square())
        rows = envelope.topk(self._beams, dim=1).indices
        hkl = torch.nn.functional.pad(self.hkl[rows], (0, 0, 1, 0))  # (M, N, 3), the incident beam first
        difference = hkl[:, :, None] - hkl[:, None]
        inside = (difference.abs() <= self._reach).all(dim=-1)
        place = difference.clamp(-self._reach, self._reach) + self._reach
        matrix = self._table[tuple(place.unbind(-1))] * inside
        errors = torch.nn.functional.pad(error.gather(1, rows), (1, 0))
        values, waves = torch.linalg.eigh(matrix + torch.diag_embed(2 * errors).to(matrix))
        phase = torch.polar(torch.ones_like(values), math.pi * values * thickness_a[:, None])
        beams = waves @ (phase * waves[:, 0].conj())[..., None]  # (M, N, 1)
        lab = (g[rows][:, :, None] * rotations[:, None, [1, 0]]).sum(dim=-1)
        return lab, beams[:, 1:, 0].abs().square()
