"""Segmented images and projected potential of a specimen, both as exact Fourier series.

Crystals that fill the field of view repeat with their unit cell, so they are computed in the frame of the crystal, once
for all rotations of the scan: the raster and the detector rotate instead. A crystal patch in vacuum does not repeat and
is computed on its whole cell. The potential is summed along the beam, through the tilted specimen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.multislice import transmission
from workflow_scripts.optics.phonons import displaced
from workflow_scripts.optics.plane_waves import Field, ImageSeries, Probe, Specimen, images
from workflow_scripts.optics.potential import projected_slices
from workflow_scripts.potential.settings import MultisliceSettings
from workflow_scripts.potential.simulation.structures import Crystal


@dataclass(frozen=True)
class View:
    """Rotation and origin of the scan on a crystal.

    Attributes:
        rotation_deg: of the crystal against the scan, from +y towards +x.
        origin_a: [y, x] of the raster's first pixel in the frame of the crystal, Å.
    """

    rotation_deg: float
    origin_a: tuple[float, float]

    def positions_a(self, side_px: int, pixel_size_a: float) -> Tensor:
        """Where the raster's pixels lie in the frame of the crystal: float64 (side², 2) [y, x], Å."""
        axis = torch.arange(side_px, dtype=torch.float64) * pixel_size_a
        raster = torch.cartesian_prod(axis, axis)
        return raster @ _rotation(-self.rotation_deg) + torch.tensor(self.origin_a, dtype=torch.float64)

    def to_scan(self, vector: Sequence[float]) -> tuple[float, float]:
        """A vector [y, x] of the crystal's frame in the frame of the scan."""
        y, x = (torch.tensor(vector, dtype=torch.float64) @ _rotation(self.rotation_deg)).tolist()
        return y, x


@dataclass(frozen=True)
class Computed:
    """Images and potential of one specimen in one frame, at every thickness.

    Attributes:
        images: series of coefficients (thicknesses, D, …) for the D segments of all detectors, a share of the beam.
        potential: series of coefficients (thicknesses, …), V Å, band-limited only by the multislice grid.
        thickness_nm: (thicknesses,) that were passed, whole slices.
    """

    images: ImageSeries
    potential: ImageSeries
    thickness_nm: tuple[float, ...]

    def after(self, place: int) -> "Computed":
        """The same at one of the thicknesses alone."""
        at = slice(place, place + 1)
        series = (ImageSeries(part.coefficients[at], part.period_a) for part in (self.images, self.potential))
        return Computed(*series, self.thickness_nm[at])


def compute(
    crystal: Crystal,
    probe: Probe,
    detectors: Sequence[Detector],
    thickness_nm: Sequence[float],
    sampling: MultisliceSettings,
    generator: torch.Generator,
    device: torch.device,
) -> Computed:
    """Multislice of a cell that repeats in all directions, for all beams of the probe.

    Args:
        crystal: N atoms in the cell.
        probe: with its tilt in the frame of the crystal.
        detectors: with their rotation in the frame of the crystal.
        thickness_nm: wanted, in ascending order; each is rounded to a whole number of slices, different ones for each.
        sampling: the cell is tiled up to its field of view.
        generator: of the phonons, on the CPU.
        device: where it runs.

    Raises:
        ValueError: as for `optics.plane_waves.images`.
    """
    grid = _Grid.of(crystal, sampling)
    positions_a = torch.as_tensor(crystal.positions_a, dtype=torch.float64, device=device)
    at_rest = grid.slices(crystal.symbols, positions_a, crystal.debye_waller_a2)
    exits: list[int] = []
    for thickness in thickness_nm:
        exits.append(max(round(10 * thickness / grid.distance_a), exits[-1] + 1 if exits else 1))
    tiles = tuple(max(1, math.ceil(sampling.field_a / side - 1e-9)) for side in crystal.cell_a[1:])

    def imaged(slices: Tensor, field: Field) -> ImageSeries:
        through = transmission(slices, field.pixel_size_a, probe.voltage_kv).to(torch.complex64)
        specimen = Specimen(through, [grid.distance_a] * len(through), exits)
        return images(specimen, field, probe, detectors, sampling.memory_mib * 2**20)

    with torch.no_grad():
        if not sampling.phonon_configurations:
            series = imaged(at_rest, Field(grid.shape, grid.pixel_size_a, tiles))
        else:
            # Atoms in motion do not repeat: the whole field of view, through the whole thickness, is one cell
            whole = crystal.tiled((math.ceil(exits[-1] / grid.n_slices), *tiles))
            wide = grid.tiled(exits[-1], tiles)
            field = Field(wide.shape, wide.pixel_size_a)
            snapshots = (
                imaged(_snapshot(whole, wide, generator, device), field).coefficients
                for _ in range(sampling.phonon_configurations)
            )
            series = ImageSeries(reduce(torch.add, snapshots) / sampling.phonon_configurations, field.grid_a)
    return Computed(
        ImageSeries(series.coefficients.cpu(), series.period_a),
        ImageSeries(_projected(at_rest, grid, exits, probe.tilt_mrad).cpu(), crystal.cell_a[1:]),
        tuple(0.1 * grid.distance_a * count for count in exits),
    )


@dataclass(frozen=True)
class _Grid:
    """Pixels and slices of a cell: shape (H, W), pixel_size_a [height, width], n_slices of distance_a each, Å."""

    shape: tuple[int, int]
    pixel_size_a: tuple[float, float]
    n_slices: int
    distance_a: float

    @classmethod
    def of(cls, crystal: Crystal, sampling: MultisliceSettings) -> "_Grid":
        """At least as fine as the settings."""
        depth, *sides = crystal.cell_a
        shape = tuple(_even(side / sampling.pixel_a) for side in sides)
        n_slices = math.ceil(depth / sampling.slice_a - 1e-9)
        pixel_size_a = tuple(side / n for side, n in zip(sides, shape, strict=True))
        return cls(shape, pixel_size_a, n_slices, depth / n_slices)

    def tiled(self, n_slices: int, tiles: tuple[int, int]) -> "_Grid":
        """The grid of several cells beside each other, with this number of slices."""
        shape = tuple(side * count for side, count in zip(self.shape, tiles, strict=True))
        return replace(self, shape=shape, n_slices=n_slices)

    def slices(self, symbols: Sequence[str], positions_a: Tensor, factors_a2: Sequence[float] | None) -> Tensor:
        """Projected potential float64 (S, H, W), V Å, of atoms (N, 3), smeared by Debye-Waller factors if given."""
        # An atom on a boundary belongs to the next slice, regardless of rounding
        inner = (self.distance_a * (index - 1e-6) for index in range(1, self.n_slices))
        limit_per_a = 0.5 / max(self.pixel_size_a)
        boundaries_a = [-math.inf, *inner, math.inf]
        return projected_slices(
            symbols, positions_a, boundaries_a, self.shape, self.pixel_size_a, limit_per_a, factors_a2
        )


def _snapshot(crystal: Crystal, grid: _Grid, generator: torch.Generator, device: torch.device) -> Tensor:
    """Slices of one snapshot of the displaced atoms, each atom in the slice of its equilibrium position."""
    at_rest_a = torch.as_tensor(crystal.positions_a, dtype=torch.float64)
    moved_a = displaced(at_rest_a, crystal.debye_waller_a2, generator)
    moved_a[:, 0] = at_rest_a[:, 0]
    return grid.slices(crystal.symbols, moved_a.to(device), None)


def with_source(series: ImageSeries, from_a: float, to_a: float) -> ImageSeries:
    """The images of a Gaussian source of another standard deviation, Å: the Fourier transform of one over the other."""
    exponent = 2 * math.pi**2 * (from_a**2 - to_a**2) * _frequencies(series).square()
    return ImageSeries(series.coefficients * exponent.exp().to(series.coefficients.real.dtype), series.period_a)


def low_pass(series: ImageSeries, limit_per_a: float) -> ImageSeries:
    """The part of a series below a spatial frequency, Å⁻¹."""
    passed = _frequencies(series) < limit_per_a
    rows, columns = (torch.nonzero(passed.any(dim=axis)).flatten() for axis in (1, 0))
    box = np.s_[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return ImageSeries((series.coefficients * passed)[box], series.period_a)


def _frequencies(series: ImageSeries) -> Tensor:
    """|q| of each coefficient, float64 (2 My + 1, 2 Mx + 1), Å⁻¹."""
    sizes = zip(series.coefficients.shape[-2:], series.period_a, strict=True)
    axes = [torch.arange(-(n // 2), n // 2 + 1, dtype=torch.float64) / side for n, side in sizes]
    return torch.hypot(*torch.meshgrid(*axes, indexing="ij"))


def _projected(slices: Tensor, grid: _Grid, exits: Sequence[int], tilt_mrad: tuple[float, float]) -> Tensor:
    """Σ V_s(r + t z_s) over the slices passed: complex128 coefficients (exits, 2 My + 1, 2 Mx + 1)."""
    # The rows and columns at Nyquist have no partner of the other sign
    rows, columns = (torch.arange(-((n - 1) // 2), (n - 1) // 2 + 1, device=slices.device) for n in grid.shape)
    spectrum = torch.fft.fft2(slices, norm="forward")[:, rows[:, None], columns]  # (S, 2 My + 1, 2 Mx + 1)
    cycles = [
        1e-3 * tilt * grid.distance_a * orders.double() / (n * pixel)
        for tilt, orders, n, pixel in zip(tilt_mrad, (rows, columns), grid.shape, grid.pixel_size_a, strict=True)
    ]
    shift = torch.exp(2j * math.pi * (cycles[0][:, None] + cycles[1]))  # from a slice to the next
    total, projected, factor = torch.zeros_like(spectrum[0]), [], torch.ones_like(spectrum[0])
    for index in range(exits[-1]):
        total = total + spectrum[index % len(slices)] * factor
        factor = factor * shift
        if index + 1 in exits:
            projected.append(total)
    return torch.stack(projected)


def _rotation(angle_deg: float) -> Tensor:
    """The matrix that rotates row vectors [y, x] by an angle from +y towards +x."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64)


def _even(n: float) -> int:
    """The next even number without large factors."""
    n = 2 * math.ceil(n / 2 - 1e-9)
    while True:
        remainder = n
        for factor in (2, 3, 5, 7):
            while remainder % factor == 0:
                remainder //= factor
        if remainder == 1:
            return n
        n += 2
