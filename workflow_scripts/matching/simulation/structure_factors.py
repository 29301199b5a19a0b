"""Structure factors for electrons, and the rotations under which a crystal's kinematic patterns stay the same."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.simulation.crystals import Crystal
from workflow_scripts.optics.kirkland import scattering_factor_a

_MOST_REFLECTIONS = 2_000_000
_BATCH = 2**22  # atoms times reflections at once
_COMPARED_PER_A = 1.2  # resolution up to which symmetry compares reflections; raised for small cells
_TOLERANCE = 0.02  # largest difference between amplitudes that are the same, share of the largest
_ABSENT = 1e-5  # of the largest amplitude: the precision of coordinates in a .cif


@dataclass(frozen=True, eq=False)
class Reflections:
    """Reciprocal lattice vectors of a crystal with their structure factors, without 000, the shortest first.

    hkl: int64 (G, 3).
    g_per_a: float64 (G, 3), cartesian, in the crystal's frame, 1/Å without 2π.
    structure_factor_a: complex128 (G,), in Å, of electrons at rest.
    volume_a3: volume of the cell, Å³.
    """

    hkl: Tensor
    g_per_a: Tensor
    structure_factor_a: Tensor
    volume_a3: float

    def amplitude_of(self, hkl: Tensor) -> Tensor:
        """|F| in Å of indices (..., 3); 0 where they are not in the list."""
        reach = int(self.hkl.abs().max())
        table = torch.zeros((2 * reach + 1,) * 3, dtype=torch.float64)
        table[tuple((self.hkl + reach).T)] = self.structure_factor_a.abs()
        inside = (hkl.abs() <= reach).all(dim=-1)
        place = hkl.clamp(-reach, reach) + reach
        return table[place[..., 0], place[..., 1], place[..., 2]] * inside

    def present(self) -> "Reflections":
        """The reflections that are not absent: |F| above 1e-5 of the largest."""
        amplitude = self.structure_factor_a.abs()
        rows = amplitude > _ABSENT * amplitude.max()
        return Reflections(self.hkl[rows], self.g_per_a[rows], self.structure_factor_a[rows], self.volume_a3)


def structure_factors(crystal: Crystal, largest_per_a: float) -> Reflections:
    """F_hkl = Σ_j o_j f_j(|g|) exp(−B_j |g|² / 4) exp(2πi (h x_j + k y_j + l z_j)) of all 0 < |g| ≤ a resolution.

    f is Kirkland's electron scattering factor in Å, non-relativistic: multiply by γ = 1 + eU / mc² for electrons of the
    voltage U. o is the occupancy. Conventions as in De Graef, Introduction to Conventional Transmission Electron
    Microscopy (doi:10.1017/CBO9780511615092).

    Args:
        crystal: the crystal.
        largest_per_a: the resolution |g| = 1/d in 1/Å, at most 12, where the scattering factors end.

    Raises:
        ValueError: the resolution leaves no reflection or more than two millions.
    """
    expected = 4 / 3 * math.pi * largest_per_a**3 * crystal.volume_a3
    if expected > _MOST_REFLECTIONS:
        raise ValueError(f"{expected:.2g} reflections up to {largest_per_a:g} 1/Å, at most {_MOST_REFLECTIONS}")
    # |h| = |g · a| ≤ |g| |a|
    reach = np.floor(largest_per_a * np.linalg.norm(crystal.lattice_a, axis=1) + 1e-9).astype(int)
    axes = [torch.arange(-int(n), int(n) + 1) for n in reach]
    hkl = torch.cartesian_prod(*axes).reshape(-1, 3)
    g = hkl.double() @ torch.from_numpy(crystal.reciprocal_per_a)
    squared = g.square().sum(dim=1)
    inside = (squared <= largest_per_a**2 * (1 + 1e-12)) & (hkl != 0).any(dim=1)
    hkl, g, squared = hkl[inside], g[inside], squared[inside]
    if not len(hkl):
        raise ValueError(f"there is no reflection up to {largest_per_a:g} 1/Å")
    order = torch.argsort(squared, stable=True)
    hkl, g, squared = hkl[order], g[order], squared[order]
    return Reflections(hkl, g, _sum_over_atoms(crystal, hkl, squared), crystal.volume_a3)


def _sum_over_atoms(crystal: Crystal, hkl: Tensor, squared: Tensor) -> Tensor:
    fractional, occupancy, debye_waller = (
        torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
        for values in (crystal.fractional, crystal.occupancy, crystal.debye_waller_a2)
    )
    symbols = np.array(crystal.symbols)
    total = torch.zeros(len(hkl), dtype=torch.complex128)
    for part in torch.arange(len(hkl)).split(max(1, _BATCH // len(symbols))):
        for symbol in sorted(set(crystal.symbols)):
            atoms = torch.from_numpy(np.flatnonzero(symbols == symbol))
            phase = 2 * math.pi * (hkl[part].double() @ fractional[atoms].T)  # (part, atoms)
            damping = torch.exp(-debye_waller[atoms] * squared[part, None] / 4) * occupancy[atoms]
            waves = torch.polar(damping, phase).sum(dim=1)
            total[part] += scattering_factor_a(symbol, squared[part]) * waves
    return total


def laue_rotations(crystal: Crystal) -> Tensor:
    """The proper rotations of the crystal's Laue group, from |F_hkl| alone.

    A kinematic pattern depends on |F_g| = |F_−g| only, so two orientations R and R S give the same pattern where S maps
    every reflection onto one of the same amplitude; of each pair S, −S related by inversion the proper one is taken.
    Candidates map three short reflections onto three of the same lengths, amplitudes and angles, so that neither the
    choice of cell (centred, a supercell) nor the space group of a file matters. The additional twofold axis of patterns
    along a zone axis is only approximate, because the Ewald sphere is curved, and is not included.

    Returns:
        float64 (S, 3, 3) in the crystal's cartesian frame, the identity first; a group.
    """
    # Small cells have few reflections: at least three shells are needed.
    resolution = min(12.0, max(_COMPARED_PER_A, 4 / crystal.volume_a3 ** (1 / 3)))
    while 4 / 3 * math.pi * resolution**3 * crystal.volume_a3 > 20_000:
        resolution *= 0.9
    reflections = structure_factors(crystal, resolution)
    amplitude = reflections.structure_factor_a.abs().numpy()
    tolerance = _TOLERANCE
    while tolerance > 1e-6:
        rotations = _rotations(crystal, reflections, amplitude, tolerance)
        if _is_group(rotations):
            return torch.from_numpy(rotations)
        tolerance /= 2
    return torch.eye(3, dtype=torch.float64)[None]


def _rotations(crystal: Crystal, reflections: Reflections, amplitude: np.ndarray, tolerance: float) -> np.ndarray:
    g = reflections.g_per_a.numpy()
    length = np.linalg.norm(g, axis=1)
    scale = amplitude.max()
    strong = np.flatnonzero(amplitude > 2 * tolerance * scale)
    images = {
        int(i): strong[
            (np.abs(length[strong] - length[i]) < 2e-3 * length[i])
            & (np.abs(amplitude[strong] - amplitude[i]) < tolerance * scale)
        ]
        for i in strong[:60]
    }
    # Three independent reflections with few images make few candidates.
    chosen: list[int] = []
    for i in sorted(images, key=lambda i: (len(images[i]), length[i])):
        trial = g[[*chosen, i]] / length[[*chosen, i], None]
        if np.linalg.svd(trial, compute_uv=False).min() > 0.2:
            chosen.append(i)
        if len(chosen) == 3:
            break
    if len(chosen) < 3:
        return np.eye(3)[None]
    base = g[chosen]
    near = 4e-3 * np.linalg.norm(base, axis=1).max() ** 2
    rotations = []
    for first, second in itertools.product(images[chosen[0]], images[chosen[1]]):
        if abs(g[first] @ g[second] - base[0] @ base[1]) > near:
            continue
        third = images[chosen[2]]
        third = third[np.abs(g[third] @ g[first] - base[2] @ base[0]) < near]
        third = third[np.abs(g[third] @ g[second] - base[2] @ base[1]) < near]
        for last in third:
            mapped = np.linalg.solve(base, g[[first, second, last]]).T  # mapped @ base[i] = image
            u, _, v = np.linalg.svd(mapped)
            rotation = u @ v
            if np.linalg.det(rotation) > 0 and _is_symmetry(rotation, crystal, reflections, amplitude, tolerance):
                rotations.append(rotation)
    rotations.sort(key=lambda rotation: (-round(np.trace(rotation), 6), *rotation.round(6).flatten()))
    return np.stack(rotations) if rotations else np.eye(3)[None]


def _is_symmetry(
    rotation: np.ndarray, crystal: Crystal, reflections: Reflections, amplitude: np.ndarray, tolerance: float
) -> bool:
    """Whether every reflection is rotated onto one of the same amplitude, or onto none where it is absent."""
    indices = reflections.g_per_a.numpy() @ rotation.T @ crystal.lattice_a.T
    whole = indices.round()
    on_lattice = np.abs(indices - whole).max(axis=1) < 0.05
    rotated_amplitude = reflections.amplitude_of(torch.from_numpy(whole.astype(np.int64))).numpy() * on_lattice
    # Near the surface of the sphere rounding can put a rotated reflection outside the list.
    length = np.linalg.norm(reflections.g_per_a.numpy(), axis=1)
    inside = length < 0.99 * length.max()
    return bool((np.abs(rotated_amplitude - amplitude)[inside] < tolerance * amplitude.max()).all())


def _is_group(rotations: np.ndarray) -> bool:
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 1, 3, 3)
    known = (np.abs(products - rotations).max(axis=(-1, -2)) < 0.02).any(axis=-1)
    return bool(known.all()) and bool(np.abs(rotations[0] - np.eye(3)).max() < 1e-2)
