"""The user's 4D-STEM scan, ready for the stages: patterns cropped and binned, probe, positions in object pixels."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.apply.orientation import Orientation, search
from workflow_scripts.diffractive_imaging.apply.settings import Apply, UserProbe
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, Scan, read_probe
from workflow_scripts.diffractive_imaging.simulation.forward import MASK_THRESHOLD, rotated
from workflow_scripts.formats.arrays import opened, values
from workflow_scripts.formats.scan import Disc, find_disc, open_scan
from workflow_scripts.optics.diffraction import near_field
from workflow_scripts.optics.probe import aberration_phase, make_probe, pixel_size_a
from workflow_scripts.workflow.errors import InputError

SCAN_NAME = "scan"  # its name in the checked file


@dataclass(frozen=True)
class Window:
    """What is kept of a recorded pattern: `n` × `n` blocks of `binning` × `binning` pixels from `first` [y, x] on.

    offset_px: [y, x] of the disc's centre from pixel [n//2, n//2], in binned pixels.
    """

    first: tuple[int, int]
    binning: int
    n: int
    offset_px: tuple[float, float]

    def cut(self, patterns: np.ndarray) -> np.ndarray:
        """(…, H, W) → the sums (…, n, n)."""
        rows, columns = (slice(first, first + self.n * self.binning) for first in self.first)
        blocks = patterns[..., rows, columns]
        blocks = blocks.reshape(*blocks.shape[:-2], self.n, self.binning, self.n, self.binning)
        return blocks.sum(axis=(-3, -1))


@dataclass(frozen=True)
class CheckedScan:
    """A scan that is ready for the stages, and the report on it.

    scan: counts in electrons, as the detector recorded them; positions along the object's axes.
    light: the probe along the object's axes, and the mean dose.
    report: the disc, the window, the dose and the orientation, as plain JSON.
    """

    scan: Scan
    light: Illumination
    report: dict[str, Any]

    def arrays(self) -> dict[str, np.ndarray]:
        """As a test file of the stage synthesize holds a scan, without a truth."""
        return {
            "scans": np.array([SCAN_NAME]),
            "test_dose_e": np.array([self.light.dose_e]),
            f"{SCAN_NAME}.counts": self.scan.counts.numpy()[None],  # one dose
            f"{SCAN_NAME}.positions_px": self.scan.positions_px.numpy(),
            "detector_transposed": np.bool_(self.scan.detector_transposed),
            **self.light.arrays(),
        }


def checked_scan(settings: Apply, patterns: Path, positions: Path | None, probe: Path | None) -> CheckedScan:
    """Read, check, crop, bin and orient a scan.

    Raises:
        InputError: a file is broken, the values are not counts, shapes do not fit each other or the settings.
    """
    with ExitStack() as files:
        recorded = files.enter_context(open_scan([patterns], settings.dataset, settings.scan_shape))
        if settings.step_a is not None and recorded.raster is None:
            raise InputError(
                f"{recorded.where} has the shape {recorded.patterns.shape}: a raster (step_a) needs scan_shape:"
                " [rows, columns]"
            )
        table = None
        if positions is not None:
            array = files.enter_context(opened(positions, settings.positions_dataset, "positions"))
            table = _positions(array, len(recorded), positions)
        mean = recorded.mean_pattern()
        keys = "center_px and probe.aperture_radius_px"
        disc = find_disc(mean, keys, settings.center_px, settings.probe.aperture_radius_px)
        window = _window(settings, disc, mean.shape)
        counts = np.concatenate([window.cut(part).astype(np.float32) for part in recorded.chunks()])
    counts /= np.float32(settings.counts_per_electron)
    dose_e = float(counts.sum(axis=(1, 2), dtype=np.float64).mean())
    if not settings.dose_min_e <= dose_e <= settings.dose_max_e:
        raise InputError(
            f"{recorded.where}: the patterns hold {dose_e:.0f} electrons on average, outside dose_min_e"
            f" {settings.dose_min_e:g} to dose_max_e {settings.dose_max_e:g}; set the two around it, or"
            " counts_per_electron"
        )
    radius = disc.radius_px / settings.binning
    size = pixel_size_a(window.n, settings.probe.voltage_kv, settings.probe.semiangle_mrad, radius)
    wave = _probe(settings.probe, window, radius, counts.mean(axis=0, dtype=np.float64), probe)
    light = Illumination(wave, size, dose_e, settings.upsampling)
    if not light.mask().any():
        raise InputError(
            f"{probe or 'probe'}: no intensity on the {window.n // settings.upsampling} object pixels of a patch;"
            f" centre the wave at [{window.n // 2}, {window.n // 2}] (numpy's fftshift), or lower upsampling"
        )
    measured = torch.from_numpy(counts)
    if table is None:
        positions_px = raster_px(recorded.raster, settings.step_a / size)
    else:
        positions_px = torch.from_numpy(table / (size if settings.positions_unit == "angstrom" else 1.0))
    _check_step(positions_px, window, size, "step_a" if table is None else "positions")
    if settings.rotation == "search":
        orientation = search(measured, positions_px, recorded.raster, light)
    else:
        orientation = Orientation(settings.rotation, settings.detector_transposed)
    if orientation.transposed:
        light = replace(light, probe=light.probe.T.contiguous())
    scan = Scan(measured, rotated(positions_px, orientation.rotation_deg), orientation.transposed)
    report = {
        "disc": {"center_px": list(disc.center_px), "radius_px": disc.radius_px},
        "window": {"first_px": list(window.first), "binning": window.binning, "detector_px": window.n},
        "patterns": len(counts),
        "dose_e": dose_e,
        "pixel_size_a": size,
        "share_of_dose_in_mask": float((light.probe.abs().square() * _object_mask(light)).sum()),
        "orientation": orientation.report(),
    }
    return CheckedScan(scan, light, report)


def _check_step(positions_px: Tensor, window: Window, pixel_a: float, key: str) -> None:
    """Refuse a wrong unit before an object of that size is laid out."""
    step_px = float(positions_px.diff(dim=0).norm(dim=1).median()) if len(positions_px) > 1 else 0.0
    if step_px > window.n:
        raise InputError(
            f"{key}: the beam moves {step_px:.0f} object pixels of {pixel_a:.3g} Å from one pattern to the next, but a"
            f" pattern covers {window.n}, so that none overlap; correct {key} or its unit"
        )


def raster_px(shape: tuple[int, int], step_px: float) -> Tensor:
    """Positions float64 (rows · columns, 2) [y, x] of a raster, rows first, about its centre."""
    rows, columns = (step_px * (np.arange(length) - (length - 1) / 2) for length in shape)
    return torch.from_numpy(np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2))


def _object_mask(light: Illumination) -> Tensor:
    """The mask of a patch on object pixels, bool (n, n)."""
    intensity = light.probe.abs().square()
    n, half = light.n, light.n // (2 * light.upsampling)
    inside = torch.zeros(n, n, dtype=torch.bool)
    inside[n // 2 - half : n // 2 + half, n // 2 - half : n // 2 + half] = True
    return inside & (intensity > MASK_THRESHOLD * intensity.max())


def _positions(array: Any, patterns: int, path: Path) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(f"positions: {path} has the shape {tuple(array.shape)}, expected (N, 2) as [y, x]")
    if len(array) != patterns:
        raise InputError(f"positions: {path} holds {len(array)} positions for {patterns} patterns; give one for each")
    positions = values(array, f"positions: {path}")
    if not np.isfinite(positions).all():
        raise InputError(f"positions: {path} holds values that are not finite; repair or leave out those patterns")
    return positions


def _window(settings: Apply, disc: Disc, shape: tuple[int, ...]) -> Window:
    """Crop that brings the disc's centre as near to pixel [n//2, n//2] as the edge of the detector allows."""
    n, binning = settings.detector_px, settings.binning
    if n * binning > min(shape):
        raise InputError(
            f"detector_px {n} × binning {binning} = {n * binning} recorded pixels a side, but the detector has"
            f" {shape[0]} × {shape[1]}; reduce one of the two"
        )
    half_block = (binning - 1) / 2
    first = tuple(
        int(np.clip(round(center - half_block - binning * (n // 2)), 0, length - n * binning))
        for center, length in zip(disc.center_px, shape, strict=True)
    )
    offset = tuple(
        (center - half_block - start) / binning - n // 2 for center, start in zip(disc.center_px, first, strict=True)
    )
    if max(abs(shift) for shift in offset) + disc.radius_px / binning >= n / 2:
        raise InputError(
            f"the bright-field disc (radius {disc.radius_px:.1f} px around {disc.center_px[0]:.1f}, "
            f"{disc.center_px[1]:.1f}) does not fit detector_px {n} × binning {binning}; enlarge one of the two"
        )
    return Window(first, binning, n, offset)


def _probe(settings: UserProbe, window: Window, radius_px: float, mean: np.ndarray, file: Path | None) -> Tensor:
    """The probe wave complex128 (n, n) along the axes of the recorded patterns, ∑|P|² = 1."""
    if file is not None:
        return read_probe(file, window.n)
    voltage, semiangle, (y, x) = settings.voltage_kv, settings.semiangle_mrad, window.offset_px
    axis = torch.arange(window.n, dtype=torch.float64) - window.n // 2
    if settings.amplitude == "mean_pattern":
        angle_rad = torch.hypot(axis[:, None] - y, axis - x) * (1e-3 * semiangle / radius_px)
        chi = aberration_phase(angle_rad, voltage, settings.defocus_a, settings.cs_mm)
        probe = near_field(torch.polar(torch.from_numpy(mean).sqrt(), -chi))
        return probe / probe.abs().square().sum().sqrt()
    probe = make_probe(window.n, voltage, semiangle, radius_px, settings.defocus_a, settings.cs_mm)
    # A disc that is off the central pixel by a fraction of a pixel gives the wave a phase ramp.
    return probe * torch.exp(2j * torch.pi * (y * axis[:, None] + x * axis) / window.n)
