"""Images of a scanning microscope from plane waves: every beam of the probe is propagated through the specimen once.

A probe is a sum of the plane waves inside its aperture, so the waves behind the specimen of those beams, the columns of
its scattering matrix, hold the images of every probe position, aberration and detector: the PRISM algorithm without
interpolation (doi:10.1186/s40679-017-0046-1), which is exact. Three facts make it cheap:

- An image is a Fourier series over the differences of two beams, since the intensity on a detector is quadratic in
  the wave: I(r) = Σ A*(b) A(b′) exp(2πi (b − b′)·r) Σ_k S*(k, b) S(k, b′). The sum over the detector is one product of
  matrices for all positions, and the series gives the image anywhere.
- The series ends at twice the aperture's radius: 2 α / λ.
- In a crystal that repeats, a beam scatters only by vectors of the crystal's reciprocal lattice (Bloch's theorem).
  The beams of a large field of view fall into classes that do not mix, and each beam needs the grid of one unit cell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.multislice import PixelSize, band_limit_per_a, fresnel_propagator, sides
from workflow_scripts.optics.probe import aberration_phase
from workflow_scripts.optics.waves import wavelength_a

# Size of a batch of waves on a CPU, about that of its cache: larger batches are slower.
_CACHE_BYTES = 2**20


@dataclass(frozen=True)
class Field:
    """The field of view that repeats: a grid of pixels, tiled.

    Attributes:
        shape: (H, W) pixels of the grid of waves and slices.
        pixel_size_a: of the grid, Å.
        tiles: (rows, columns) of grids in the field of view; more than one where the specimen is a crystal that repeats
            with the grid.
    """

    shape: tuple[int, int]
    pixel_size_a: PixelSize
    tiles: tuple[int, int] = (1, 1)

    @property
    def grid_a(self) -> tuple[float, float]:
        """Height and width of the grid, Å."""
        return tuple(side * pixel for side, pixel in zip(self.shape, sides(self.pixel_size_a), strict=True))

    @property
    def extent_a(self) -> tuple[float, float]:
        """Height and width of the field of view, Å."""
        return tuple(side * tiles for side, tiles in zip(self.grid_a, self.tiles, strict=True))

    def lattice_inside(self, limit_per_a: float, offset_per_a: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """Vectors m of the grid's reciprocal lattice with |m + offset| ≤ limit: int64 (M, 2) [y, x], sorted."""
        axes = []
        for side, offset in zip(self.grid_a, offset_per_a, strict=True):
            first, last = math.ceil((-limit_per_a - offset) * side), math.floor((limit_per_a - offset) * side)
            axes.append(torch.arange(first, last + 1))
        vectors = torch.cartesian_prod(*axes).reshape(-1, 2)
        squared = sum((vectors[:, i] / self.grid_a[i] + offset_per_a[i]).double().square() for i in (0, 1))
        return vectors[squared <= (limit_per_a * (1 + 1e-12)) ** 2]

    def offsets_per_a(self) -> list[tuple[float, float]]:
        """The classes of beams that a crystal does not mix, by their wave vector inside the first zone, Å⁻¹."""
        steps = [
            [index / extent for index in range(-((tiles - 1) // 2), tiles // 2 + 1)]
            for tiles, extent in zip(self.tiles, self.extent_a, strict=True)
        ]
        return [(y, x) for y in steps[0] for x in steps[1]]


@dataclass(frozen=True)
class Probe:
    """The illumination: a round aperture with a hard edge.

    Attributes:
        voltage_kv: accelerating voltage, kV.
        semiangle_mrad: convergence semiangle, mrad.
        defocus_a: Å, positive is underfocus.
        cs_mm: spherical aberration, mm.
        tilt_mrad: [y, x] of the beam against the normal of the slices, mrad.
        source_size_a: standard deviation of the Gaussian source in the plane of the specimen, Å.
    """

    voltage_kv: float
    semiangle_mrad: float
    defocus_a: float = 0.0
    cs_mm: float = 0.0
    tilt_mrad: tuple[float, float] = (0.0, 0.0)
    source_size_a: float = 0.0

    @property
    def radius_per_a(self) -> float:
        """Radius of the aperture, Å⁻¹."""
        return 1e-3 * self.semiangle_mrad / wavelength_a(self.voltage_kv)

    def amplitude(self, frequency_per_a: Tensor) -> Tensor:
        """exp(−iχ) of the beams at float64 (B, 2) Å⁻¹ inside the aperture: complex128 (B,), not normalised."""
        angle_rad = wavelength_a(self.voltage_kv) * frequency_per_a.norm(dim=1)
        chi = aberration_phase(angle_rad, self.voltage_kv, self.defocus_a, self.cs_mm)
        return torch.polar(torch.ones_like(chi), -chi)


@dataclass(frozen=True)
class Specimen:
    """Slices of a period, which the wave passes again and again.

    Attributes:
        transmissions: complex (S, H, W), of `multislice.transmission`; their precision is that of the computation.
        distances_a: (S,) from each slice to the next, Å; the last to the first of the next period.
        exits: numbers of slices after which an image is wanted, in ascending order.
    """

    transmissions: Tensor
    distances_a: Sequence[float]
    exits: Sequence[int]

    def __post_init__(self) -> None:
        if len(self.distances_a) != len(self.transmissions):
            raise ValueError(f"{len(self.transmissions)} slices need as many distances, not {len(self.distances_a)}")
        if not self.exits or list(self.exits) != sorted(set(self.exits)) or self.exits[0] < 1:
            raise ValueError(f"exits must be positive and in ascending order, not {list(self.exits)}")


@dataclass(frozen=True)
class ImageSeries:
    """Images as Fourier series: exact at any position, at any sampling.

    Attributes:
        coefficients: complex (..., 2 My + 1, 2 Mx + 1), of the image as a share of the incident electrons; the mean at
            [My, Mx].
        period_a: height and width after which the images repeat, Å.
    """

    coefficients: Tensor
    period_a: tuple[float, float]

    def at(self, positions_a: Tensor) -> Tensor:
        """Images at positions float64 (P, 2) [y, x] in Å: real (..., P)."""
        waves = []  # (P, 2 M + 1) each
        for axis, side in enumerate(self.period_a):
            cycles = positions_a[:, axis, None] / side * _orders(self.coefficients.shape[axis - 2], positions_a)
            waves.append(torch.exp(2j * math.pi * cycles).to(self.coefficients.dtype))
        flat = self.coefficients.flatten(0, -3)  # (..., 2 My + 1, 2 Mx + 1)
        along_x = flat @ waves[1].T  # (..., 2 My + 1, P)
        values = (along_x * waves[0].T).sum(dim=1).real
        return values.unflatten(0, self.coefficients.shape[:-2])

    def raster(self, shape: tuple[int, int]) -> Tensor:
        """Images on a raster of the whole period, [0, 0] at the origin: real (..., h, w).

        Raises:
            ValueError: the raster is too coarse to hold the series.
        """
        orders = self.coefficients.shape[-2:]
        if shape[0] < orders[0] or shape[1] < orders[1]:
            raise ValueError(f"a raster of {shape} is coarser than the image's {tuple(orders)} Fourier coefficients")
        padded = self.coefficients.new_zeros(*self.coefficients.shape[:-2], *shape)
        rows, columns = (_orders(n, padded).long() % side for n, side in zip(orders, shape, strict=True))
        padded[..., rows[:, None], columns] = self.coefficients
        return torch.fft.ifft2(padded, norm="forward").real


def images(
    specimen: Specimen, field: Field, probe: Probe, detectors: Sequence[Detector], memory_bytes: int = 2**31
) -> ImageSeries:
    """The images of all detectors' segments after every exit; differentiable in the transmissions.

    Args:
        specimen: its slices.
        field: the field of view; must be wider than the probe at its widest, or neighbouring tiles interfere.
        probe: the illumination.
        detectors: D segments in all, in this order.
        memory_bytes: budget of the computation; the beams go through in batches that fit.

    Returns:
        coefficients (exits, D, 2 My + 1, 2 Mx + 1), in the precision of the transmissions.

    Raises:
        ValueError: a detector reaches beyond the band limit, the specimen is not on the grid of the field, or the
            scattered waves exceed the memory budget.
    """
    outer_per_a = max(detector.outer_mrad for detector in detectors) * 1e-3 / wavelength_a(probe.voltage_kv)
    _check(specimen, field, probe, outer_per_a)
    device, dtype = specimen.transmissions.device, specimen.transmissions.dtype
    # Two beams of one class differ by at most the diameter of the aperture.
    reach = [math.floor(2 * probe.radius_per_a * side * (1 + 1e-12)) for side in field.grid_a]
    shape = (len(specimen.exits), sum(d.segments for d in detectors), 2 * reach[0] + 1, 2 * reach[1] + 1)
    total = torch.zeros(shape, dtype=dtype, device=device).flatten(2)
    n_beams = 0
    for offset_per_a in field.offsets_per_a():
        beams = field.lattice_inside(probe.radius_per_a, offset_per_a)
        if not len(beams):
            continue
        n_beams += len(beams)
        detected = field.lattice_inside(min(outer_per_a, band_limit_per_a(field.pixel_size_a)), offset_per_a)
        frequency_per_a, detected_per_a = (
            _frequencies(vectors, field, offset_per_a, device) for vectors in (beams, detected)
        )
        amplitude = probe.amplitude(frequency_per_a).to(dtype)
        masks = torch.cat([detector.masks(detected_per_a, probe.voltage_kv) for detector in detectors])  # (D, K)
        scattered = scattering_matrix(specimen, field, probe, beams, detected, offset_per_a, memory_bytes) * amplitude
        # b − b′ of beam b and beam b′, as an index into the series
        difference = (beams[:, None] - beams + torch.tensor(reach)).to(device)
        index = (difference[..., 0] * (2 * reach[1] + 1) + difference[..., 1]).flatten()
        parts = []
        for wave in scattered:  # (K, B) complex
            gram = torch.stack([wave[mask].mH @ wave[mask] for mask in masks])  # (D, B, B), Σ_k S*(k, b) S(k, b′)
            parts.append(gram.flatten(1))
        total = total.index_add(2, index, torch.stack(parts))
    series = total.unflatten(2, shape[2:]) / n_beams
    return ImageSeries(series * _source(series, field.grid_a, probe.source_size_a), field.grid_a)


def scattering_matrix(
    specimen: Specimen,
    field: Field,
    probe: Probe,
    beams: Tensor,
    detected: Tensor,
    offset_per_a: tuple[float, float] = (0.0, 0.0),
    memory_bytes: int = 2**31,
) -> Tensor:
    """The scattered waves behind the specimen of each incident beam.

    Args:
        specimen, field, probe: as in :func:`images`; of the probe only voltage and tilt are used.
        beams: int64 (B, 2) reciprocal lattice vectors of the grid, as from :meth:`Field.lattice_inside`.
        detected: int64 (K, 2) vectors of the scattered waves that are kept.
        offset_per_a: of the class of beams, Å⁻¹.
        memory_bytes: budget.

    Returns:
        complex (exits, K, B): each column the amplitudes of the scattered waves of a beam of amplitude 1.

    Raises:
        ValueError: the result and one wave exceed the memory budget.
    """
    slices = specimen.transmissions
    batch = _batch(len(specimen.exits) * len(detected) * len(beams), slices, memory_bytes)
    pixel, voltage = field.pixel_size_a, probe.voltage_kv
    by_distance: dict[float, Tensor] = {}
    for distance_a in specimen.distances_a:
        if distance_a not in by_distance:
            by_distance[distance_a] = fresnel_propagator(
                slices, distance_a, pixel, voltage, offset_per_a, probe.tilt_mrad
            )
    propagators = [by_distance[distance_a] for distance_a in specimen.distances_a]
    rows, columns = (detected.to(slices.device) % torch.tensor(field.shape, device=slices.device)).T
    parts = []
    for incident in beams.to(slices.device).split(batch):
        wave = slices.new_zeros(len(incident), *field.shape)
        wave[torch.arange(len(incident)), incident[:, 0] % field.shape[0], incident[:, 1] % field.shape[1]] = 1
        exit_waves = []
        for index in range(specimen.exits[-1]):
            passed = _times(torch.fft.ifft2(wave, norm="forward"), slices[index % len(slices)])
            wave = torch.fft.fft2(passed, norm="forward")
            if index + 1 in specimen.exits:
                exit_waves.append(wave[:, rows, columns].T)  # (K, b)
            wave = _times(wave, propagators[index % len(slices)])
        parts.append(torch.stack(exit_waves))
    return torch.cat(parts, dim=2)


def _batch(n_kept: int, slices: Tensor, memory_bytes: int) -> int:
    """Number of waves in a batch."""
    wave_bytes = slices[0].numel() * slices.element_size()
    # The matrix, its copy where parts are joined, and as much again for products over the detectors
    left = memory_bytes - 3 * n_kept * slices.element_size()
    # A wave and its Fourier transform, and the products of both
    fits = left // (4 * wave_bytes)
    if fits < 1:
        needed = 3 * n_kept * slices.element_size() + 4 * wave_bytes
        raise ValueError(
            f"the scattered waves need {needed / 2**20:.0f} MiB, but the budget is {memory_bytes / 2**20:.0f}"
        )
    if slices.device.type == "cpu":
        fits = min(fits, max(1, _CACHE_BYTES // wave_bytes))
    return int(fits)


def _times(wave: Tensor, factor: Tensor) -> Tensor:
    """The product, in place unless a gradient needs the wave."""
    return wave * factor if torch.is_grad_enabled() and factor.requires_grad | wave.requires_grad else wave.mul_(factor)


def _frequencies(lattice: Tensor, field: Field, offset_per_a: tuple[float, float], device: torch.device) -> Tensor:
    """float64 (M, 2) in Å⁻¹ of lattice vectors (M, 2)."""
    sides_a = torch.tensor(field.grid_a, dtype=torch.float64, device=device)
    return lattice.to(sides_a) / sides_a + torch.tensor(offset_per_a, dtype=torch.float64, device=device)


def _orders(n: int, like: Tensor) -> Tensor:
    """−M … M of a series of n = 2 M + 1 coefficients, float64."""
    return torch.arange(-(n // 2), n // 2 + 1, dtype=torch.float64, device=like.device)


def _source(series: Tensor, period_a: tuple[float, float], size_a: float) -> Tensor:
    """Factor by which a Gaussian source of standard deviation `size_a` damps each coefficient."""
    y, x = (_orders(n, series) / side for n, side in zip(series.shape[-2:], period_a, strict=True))
    return torch.exp(-2 * (math.pi * size_a) ** 2 * (y[:, None].square() + x.square())).to(series.real.dtype)


def _check(specimen: Specimen, field: Field, probe: Probe, outer_per_a: float) -> None:
    if tuple(specimen.transmissions.shape[1:]) != tuple(field.shape):
        raise ValueError(f"slices of {tuple(specimen.transmissions.shape[1:])} do not fit a grid of {field.shape}")
    limit = band_limit_per_a(field.pixel_size_a)
    for part, reach in (("the detector", outer_per_a), ("the aperture", probe.radius_per_a)):
        if reach > limit:
            to_mrad = 1e3 * wavelength_a(probe.voltage_kv)
            raise ValueError(
                f"{part} reaches {reach * to_mrad:.1f} mrad, but pixels of {max(sides(field.pixel_size_a)):.4g} Å "
                f"carry {limit * to_mrad:.1f} mrad: take smaller pixels"
            )
