"""A specimen in the microscope: segmented images and projected potential, both exact Fourier series.

Crystals that fill the field of view repeat with their unit cell, so they are computed in the frame of the crystal, once
for all rotations of the scan: the raster and the detector turn instead. A crystal patch in vacuum repeats with nothing
and is computed on its whole cell. The potential is summed along the beam, through the tilted specimen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.multislice import transmission
from workflow_scripts.optics.plane_waves import Field, ImageSeries, Probe, Specimen, images
from workflow_scripts.optics.potential import projected_slices

SEGMENTS = 4


@dataclass(frozen=True)
class View:
    """How the scan lies on a crystal.

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
        return raster @ _turn(-self.rotation_deg) + torch.tensor(self.origin_a, dtype=torch.float64)

    def to_scan(self, vector: Sequence[float]) -> tuple[float, float]:
        """A vector [y, x] of the crystal's frame in the frame of the scan."""
        y, x = (torch.tensor(vector, dtype=torch.float64) @ _turn(self.rotation_deg)).tolist()
        return y, x


@dataclass(frozen=True)
class Computed:
    """Images and potential of one specimen in one frame, at every thickness.

    Attributes:
        images: series of coefficients (thicknesses, D, …) for the D segments of all detectors.
        potential: series of coefficients (thicknesses, …), V Å, without limit but that of the multislice grid.
        thickness_nm: (thicknesses,) that were passed, whole slices.
    """

    images: ImageSeries
    potential: ImageSeries
    thickness_nm: tuple[float, ...]


def compute(
    symbols: Sequence[str],
    positions_a: np.ndarray,
    cell_a: tuple[float, float, float],
    debye_waller_a2: Sequence[float],
    probe: Probe,
    detectors: Sequence[Detector],
    *,
    thickness_nm: Sequence[float],
    field_a: float,
    multislice_pixel_a: float,
    slice_a: float,
    memory_bytes: int,
    device: torch.device,
) -> Computed:
    """Multislice of a cell that repeats in all directions, by all beams of the probe.

    Args:
        symbols, positions_a, cell_a, debye_waller_a2: N atoms [z, y, x] and the cell (depth, height, width), Å.
        probe: with its tilt in the frame of the crystal.
        detectors: with their rotation in the frame of the crystal.
        thickness_nm: wanted, rising; the nearest whole number of slices is passed.
        field_a: the field of view is tiled up to at least this, Å.
        multislice_pixel_a: largest side of a pixel, Å.
        slice_a: largest thickness of a slice, Å.
        memory_bytes: budget of the computation.
        device: where it runs.

    Raises:
        ValueError: as of `optics.plane_waves.images`.
    """
    depth, *sides = cell_a
    n_slices = math.ceil(depth / slice_a - 1e-9)
    distance_a = depth / n_slices
    shape = tuple(_even(side / multislice_pixel_a) for side in sides)
    pixel_size_a = tuple(side / n for side, n in zip(sides, shape, strict=True))
    exits = [max(1, round(10 * thickness / distance_a)) for thickness in thickness_nm]
    boundaries = [distance_a * index for index in range(n_slices)] + [depth]
    slices = projected_slices(
        symbols,
        torch.as_tensor(positions_a, dtype=torch.float64, device=device),
        boundaries,
        shape,
        pixel_size_a,
        0.5 / max(pixel_size_a),
        debye_waller_a2,
    )
    field = Field(shape, pixel_size_a, tuple(max(1, math.ceil(field_a / side - 1e-9)) for side in sides))
    through = transmission(slices, pixel_size_a, probe.voltage_kv).to(torch.complex64)
    specimen = Specimen(through, [distance_a] * n_slices, exits)
    with torch.no_grad():
        series = images(specimen, field, probe, detectors, memory_bytes)
    potential = _projected(slices, distance_a, exits, probe.tilt_mrad, field)
    thickness = tuple(0.1 * distance_a * count for count in exits)
    return Computed(
        ImageSeries(series.coefficients.cpu(), series.period_a),
        ImageSeries(potential.cpu(), series.period_a),
        thickness,
    )


def low_pass(series: ImageSeries, limit_per_a: float) -> ImageSeries:
    """The part of a series below a spatial frequency, Å⁻¹."""
    frequency = torch.hypot(*torch.meshgrid(*_frequencies(series), indexing="ij"))
    kept = frequency < limit_per_a
    rows, columns = (torch.nonzero(kept.any(dim=axis)).flatten() for axis in (1, 0))
    box = np.s_[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return ImageSeries((series.coefficients * kept)[box], series.period_a)


def _projected(slices: Tensor, distance_a: float, exits: Sequence[int], tilt_mrad: tuple[float, float], field: Field):
    """Σ V_s(r + t z_s) over the slices passed: complex128 coefficients (exits, 2 My + 1, 2 Mx + 1)."""
    # The rows and columns at Nyquist have no partner of the other sign
    orders = [(side - 1) // 2 for side in field.shape]
    spectrum = torch.fft.fft2(slices, norm="forward")  # (S, H, W)
    rows, columns = (torch.arange(-m, m + 1, device=slices.device) for m in orders)
    spectrum = spectrum[:, rows[:, None], columns]
    along_y, along_x = (
        tilt * 1e-3 * k / side for tilt, k, side in zip(tilt_mrad, (rows, columns), field.grid_a, strict=True)
    )
    turn = torch.exp(2j * math.pi * distance_a * (along_y[:, None].double() + along_x))  # between a slice and the next
    total, projected, factor = torch.zeros_like(spectrum[0]), [], torch.ones_like(spectrum[0])
    for index in range(exits[-1]):
        total = total + spectrum[index % len(slices)] * factor
        factor = factor * turn
        if index + 1 in exits:
            projected.append(total)
    return torch.stack(projected)


def _frequencies(series: ImageSeries) -> list[Tensor]:
    found = []
    for n, side in zip(series.coefficients.shape[-2:], series.period_a, strict=True):
        found.append(torch.arange(-(n // 2), n // 2 + 1, dtype=torch.float64) / side)
    return found


def _turn(angle_deg: float) -> Tensor:
    """What turns row vectors [y, x] by an angle from +y towards +x."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64)


def _even(n: float) -> int:
    """The next even number without large factors."""
    n = 2 * math.ceil(n / 2 - 1e-9)
    while True:
        rest = n
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 2
