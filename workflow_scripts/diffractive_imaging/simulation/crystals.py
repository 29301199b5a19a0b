"""Scans of two-dimensional crystals and of molecules by multislice, which does not assume a phase object as the
estimators do.

ase builds the atoms: one layer of boron nitride, two that are twisted against each other, graphene, molybdenum
disulfide, or C60. They are at rest (no thermal motion), and each layer is one slice of projected potential.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.settings import CrystalName
from workflow_scripts.diffractive_imaging.simulation.forward import UPSAMPLING
from workflow_scripts.optics.diffraction import far_field
from workflow_scripts.optics.multislice import multislice, transmission
from workflow_scripts.optics.noise import poisson_counts
from workflow_scripts.optics.potential import projected_slices
from workflow_scripts.optics.probe import shift_probe
from workflow_scripts.optics.waves import interaction_parameter

if TYPE_CHECKING:
    import ase

# Lattice constants in Å: hBN (doi:10.1107/S0365110X52001064), graphene, MoS2, whose three planes are one layer.
LATTICES_A = {"BN": 2.504, "C2": 2.461, "MoS2": 3.160}
LAYER_DISTANCE_A = 3.33  # of hBN, and between all slices
# Molecules stand on a square lattice at about the distance they have in their crystal, each turned at random.
MOLECULE_DISTANCE_A = 10.0
# Rows of atoms run along no axis of the raster, so that an exchange of the axes shows.
ORIENTATION_DEG = 7.0
# Pixels of the multislice per object pixel: the fewest whose band limit, ⅔ of Nyquist, holds the detector's corners.
MULTISLICE_UPSAMPLING = 3
# The cell is cut out of the sheets and does not repeat as they do: a seam, kept away from the object. Å.
_MARGIN_A = 5.0
_BATCH = 64  # larger ones leave the cache


@dataclass(frozen=True)
class Crystal:
    """A crystal large enough for a scan.

    phase_rad: float32 (H, W) on the fine grid, σ times the projected potential of all layers, without the spatial
        frequencies that object pixels cannot hold; sample [UPSAMPLING y, UPSAMPLING x] lies at (y, x).
    slices: complex64 (S, H, W), the transmission of each layer in the order that the wave meets them, with
        MULTISLICE_UPSAMPLING samples per object pixel.
    pixel_size_a: side of a pixel of the slices, Å.
    voltage_kv: of the electrons, kV.
    """

    phase_rad: Tensor
    slices: Tensor
    pixel_size_a: float
    voltage_kv: float


def build(name: CrystalName, side: int, pixel_size_a: float, voltage_kv: float, twist_deg: float) -> Crystal:
    """A crystal over (side, side) object pixels.

    Args:
        name: one of `CrystalName`.
        side: object pixels along each side.
        pixel_size_a: side of an object pixel, Å.
        voltage_kv: of the electrons, kV.
        twist_deg: the second layer against the stacking of the bulk.
    """
    margin = math.ceil(_MARGIN_A / pixel_size_a)
    cell = side + 2 * margin
    # In the bulk of hBN every layer is rotated by 60° against the last, boron over nitrogen.
    angles_deg = (ORIENTATION_DEG, ORIENTATION_DEG + 60 + twist_deg)[: 2 if name == "hbn_twisted" else 1]
    formula = {"graphene": "C2", "mos2": "MoS2"}.get(name, "BN")
    cell_a = cell * pixel_size_a
    atoms = molecules(cell_a) if name == "fullerenes" else sheets(angles_deg, cell_a, formula)
    positions_a = torch.from_numpy(atoms.positions[:, ::-1].copy())  # ase has x first
    layers = round(atoms.cell[2, 2] / LAYER_DISTANCE_A)
    boundaries_a = [LAYER_DISTANCE_A * (layer - 0.5) for layer in range(layers + 1)]

    def projected(upsampling: int, limit_per_a: float) -> Tensor:
        shape = (upsampling * cell, upsampling * cell)
        fine_a = pixel_size_a / upsampling
        return projected_slices(atoms.get_chemical_symbols(), positions_a, boundaries_a, shape, fine_a, limit_per_a)

    def cropped(image: Tensor, upsampling: int) -> Tensor:
        inner = slice(upsampling * margin, upsampling * (margin + side))
        return image[..., inner, inner]

    slice_pixel_a = pixel_size_a / MULTISLICE_UPSAMPLING
    slices = transmission(projected(MULTISLICE_UPSAMPLING, 0.5 / slice_pixel_a), slice_pixel_a, voltage_kv)
    phase = interaction_parameter(voltage_kv) * projected(UPSAMPLING, 0.5 / pixel_size_a).sum(0)
    return Crystal(
        phase_rad=cropped(phase, UPSAMPLING).float(),
        slices=cropped(slices, MULTISLICE_UPSAMPLING).to(torch.complex64),
        pixel_size_a=slice_pixel_a,
        voltage_kv=voltage_kv,
    )


def sheets(angles_deg: Sequence[float], side_a: float, formula: str = "BN") -> "ase.Atoms":
    """Layers over a square cell, each rotated about the middle of the cell, where its hexagons have a centre.

    Args:
        angles_deg: of the layers, from z = 0 upwards.
        side_a: side of the cell in Å.
        formula: of the layers, one of `LATTICES_A`.
    """
    import ase  # here, since most jobs build no crystal and the import takes long
    from ase.build import graphene, mx2

    lattice_a = LATTICES_A[formula]
    repeats = 2 * math.ceil(side_a / lattice_a) + 2  # the rhombus covers the circle around the cell
    make = mx2 if formula == "MoS2" else graphene
    flake = make(formula=formula, a=lattice_a, size=(repeats, repeats, 1))
    # Both kinds of site and the centre of a hexagon follow each other along the long diagonal of the unit cell.
    first, second = flake.positions[:2, :2]
    flake.positions[:, :2] -= (flake.cell[0] + flake.cell[1])[:2] / 2 + first + 2 * (second - first)
    flake.positions[:, 2] -= flake.positions[:, 2].mean()
    atoms = ase.Atoms(cell=[side_a, side_a, LAYER_DISTANCE_A * len(angles_deg)])
    for layer, angle_deg in enumerate(angles_deg):
        sheet = flake.copy()
        sheet.rotate(angle_deg, "z")
        sheet.positions += [side_a / 2, side_a / 2, LAYER_DISTANCE_A * layer]
        inside = ((sheet.positions[:, :2] >= 0) & (sheet.positions[:, :2] < side_a)).all(axis=1)
        atoms += sheet[inside]
    return atoms


def molecules(side_a: float) -> "ase.Atoms":
    """C60 in three layers over a square cell of `side_a` Å, one molecule in the middle."""
    import ase
    from ase.build import molecule

    rng = np.random.default_rng(0)
    atoms = ase.Atoms(cell=[side_a, side_a, 3 * LAYER_DISTANCE_A])
    reach = int((side_a / 2 - _MARGIN_A) // MOLECULE_DISTANCE_A)
    for row, column in product(range(-reach, reach + 1), repeat=2):
        ball = molecule("C60")
        ball.euler_rotate(*rng.uniform(0, [360, 180, 360]), center="COP")
        place = np.array([column, row]) * MOLECULE_DISTANCE_A + side_a / 2
        ball.positions += [*place, LAYER_DISTANCE_A] - ball.positions.mean(axis=0)
        atoms += ball
    return atoms


def simulate_scan(
    probe: Tensor, crystal: Crystal, positions_px: Tensor, dose_e: Tensor | float, generator: torch.Generator
) -> Tensor:
    """Counts of a scan over a crystal.

    Args:
        probe: complex (n, n), centred at [n//2, n//2], at the surface that the electrons meet first.
        positions_px: (N, 2) as [y, x] in object pixels, real-valued.
        dose_e: electrons per pattern, (D, 1, 1, 1) for D doses; those scattered beyond the detector are not counted.
        generator: source of the Poisson noise.

    Returns:
        float32 (N, n, n), or (D, N, n, n).

    Raises:
        ValueError: a window leaves the crystal.
    """
    parts = positions_px.split(_BATCH)
    return torch.cat([poisson_counts(patterns(probe, crystal, part), dose_e, generator) for part in parts], dim=-3)


def patterns(probe: Tensor, crystal: Crystal, positions_px: Tensor) -> Tensor:
    """Intensity on the detector, as share of the electrons: float32 (N, n, n); arguments of :func:`simulate_scan`.

    The wave is carried in a window of the probe's size. The sub-pixel part of a position moves
    the probe instead of the crystal.
    """
    n = probe.shape[-1]
    fine_n = MULTISLICE_UPSAMPLING * n
    nearest = (positions_px * MULTISLICE_UPSAMPLING).round()  # (N, 2) pixels of the slices
    center = nearest.long()
    size = torch.tensor(crystal.slices.shape[-2:])
    if (center < fine_n // 2).any() or (center + fine_n // 2 > size).any():
        raise ValueError("a scan position lies so close to the border that its window leaves the crystal")
    probes = shift_probe(probe, positions_px - nearest / MULTISLICE_UPSAMPLING)  # (N, n, n)
    # The large arrays are kept in the order of the FFT, probe centre and zero frequency at [0, 0].
    detector = torch.arange(n) - n // 2
    spectrum = torch.zeros(len(probes), fine_n, fine_n, dtype=torch.complex64)
    spectrum[:, detector[:, None], detector] = far_field(probes).to(spectrum)
    wave = torch.fft.ifft2(spectrum, norm="ortho")
    window = torch.fft.ifftshift(torch.arange(fine_n) - fine_n // 2)
    rows, columns = (center[:, :1] + window)[:, :, None], (center[:, 1:] + window)[:, None, :]
    windows = [layer[rows, columns] for layer in crystal.slices]  # (N, fine n, fine n) each
    distances_a = [LAYER_DISTANCE_A] * (len(windows) - 1)
    exit_wave = multislice(wave, windows, distances_a, crystal.pixel_size_a, crystal.voltage_kv)
    detected = torch.fft.fft2(exit_wave, norm="ortho")[:, detector[:, None], detector]
    return detected.real.square() + detected.imag.square()
