"""The user's segmented images as the network expects them: shares of the beam, segments ordered, microscope checked.

Segment s covers the azimuths 90° s to 90° (s + 1), from +y towards +x, as in `samples`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflow_scripts.formats.scan import Disc, find_disc, open_scan
from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.waves import wavelength_a
from workflow_scripts.potential.apply.segment_files import SEGMENTS, SMALLEST_PX, checked, read_archive, read_images
from workflow_scripts.potential.apply.settings import Apply
from workflow_scripts.potential.settings import MicroscopeSettings
from workflow_scripts.potential.simulation.samples import MATCHED, RING
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays

_TOLERANCE = 0.01  # two microscopes are the same if their numbers differ by less than this share
_SUBPIXELS = 4  # along each side of a detector pixel that lies on an edge of a segment


@dataclass(frozen=True)
class UserImages:
    """Segmented images that are ready for the network.

    shares: float32 (N, 4, H, W) of the incident electrons on each segment.
    pixel_size_a: side of a pixel, Å.
    thickness_nm: float64 (N,).
    rotation_deg: float64 (N, 3) [rz, rx, ry].
    detector: `ring` or `matched`, which of the network's detectors recorded them.
    dose_e_per_a2: electrons per Å².
    voltage_kv, semiangle_mrad, ring_mrad: of the microscope.
    """

    shares: np.ndarray
    pixel_size_a: float
    thickness_nm: np.ndarray
    rotation_deg: np.ndarray
    detector: str
    dose_e_per_a2: float
    voltage_kv: float
    semiangle_mrad: float
    ring_mrad: tuple[float, float]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the file that `read` reads."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def read(cls, path: Path) -> "UserImages":
        """From the file that `apply.check` wrote.

        Raises:
            InputError: the file is incomplete or damaged.
        """
        arrays = read_arrays(path, [field.name for field in fields(cls)])
        n, *size = arrays["shares"].shape if arrays["shares"].ndim == 4 else (0,)
        shapes = {"shares": (n, SEGMENTS, *size[1:]), "thickness_nm": (n,), "rotation_deg": (n, 3), "ring_mrad": (2,)}
        for name, array in arrays.items():
            kind = "U" if name == "detector" else "f"
            if array.shape != shapes.get(name, ()) or not array.size or array.dtype.kind != kind:
                raise InputError(f"{path}: {name} is {array.dtype} {array.shape}; make the file again")
            if kind == "f" and not np.isfinite(array).all():
                raise InputError(f"{path}: {name} holds what is not a finite number; make the file again")
        single = {name: array.item() for name, array in arrays.items() if array.ndim == 0}
        return cls(**{**arrays, **single, "ring_mrad": tuple(arrays["ring_mrad"].tolist())})


def checked_images(
    settings: Apply, images: Sequence[Path], patterns: Path | None, microscope: MicroscopeSettings
) -> tuple[UserImages, dict[str, Any]]:
    """Read, check and order segmented images, or integrate them from a 4D-STEM scan; and a report, as plain JSON.

    Args:
        images: the files that `settings.images` names, in that order; empty with patterns.
        patterns: the file that `settings.patterns` names, or None.
        microscope: the one that the network is trained for.

    Raises:
        InputError: a file is broken or holds no segmented images, or they do not fit the settings or the microscope.
    """
    counts, metadata = _read(settings, images, patterns)
    where = metadata.where
    pixel, voltage = metadata.number("pixel_size_a", "sampling"), metadata.number("voltage_kv", "voltage_kv")
    semiangle = metadata.number("semiangle_mrad", "semiangle_mrad")
    ring = metadata.ring(microscope)
    detector = _trained_detector(microscope, voltage, semiangle, ring)
    _check_sampling(pixel, voltage, semiangle)
    report: dict[str, Any] = {}
    incident = settings.incident or (1.0 if settings.is_archive() else None)
    if counts is None:
        counts, whole_beam, report["disc"] = _integrated(settings, patterns, semiangle, ring)
        incident = incident or whole_beam
    else:
        counts = _ordered(counts, settings, where)
    incident, dose = _dose(settings, incident, pixel)
    shares = counts / incident
    _check_shares(shares, dose * pixel**2, where)
    user_images = UserImages(
        shares=shares.astype(np.float32),
        pixel_size_a=pixel,
        thickness_nm=metadata.of_each("thickness_nm", "thickness_nm", len(shares), ()),
        rotation_deg=metadata.of_each("rotation_deg", "rotation", len(shares), (3,), default=np.zeros(3)),
        detector=detector,
        dose_e_per_a2=dose,
        voltage_kv=voltage,
        semiangle_mrad=semiangle,
        ring_mrad=(float(ring[0]), float(ring[1])),
    )
    report |= {
        **{name: array.tolist() for name, array in user_images.arrays().items() if name != "shares"},
        "images": len(shares),
        "shape_px": list(shares.shape[-2:]),
        "incident": incident,
        "share_of_beam_by_segment": shares.mean(axis=(0, 2, 3)).tolist(),
    }
    return user_images, report


def _read(settings: Apply, images: Sequence[Path], patterns: Path | None) -> tuple[np.ndarray | None, "_Metadata"]:
    """The images (N, 4, H, W) as they are stored, None for patterns; and where their metadata come from."""
    if patterns is not None:
        return None, _Metadata(settings, {}, f"patterns: {patterns}")
    if settings.is_archive():
        name = settings.dataset or "input"
        counts, stored = read_archive(images[0], name)
        return counts, _Metadata(settings, stored, f"images: {images[0]}:{name}")
    where = "images" if len(images) > 1 else f"images: {images[0]}"
    return read_images(images, settings.dataset)[None], _Metadata(settings, {}, where)


def _ordered(images: np.ndarray, settings: Apply, where: str) -> np.ndarray:
    """Counts (N, 4, H, W) above the offset, on the network's segments."""
    counts = images[:, segment_order(settings.segment_azimuth_deg, settings.clockwise)] - settings.offset
    if (counts < 0).any():
        raise InputError(
            f"{where}: {100 * (counts < 0).mean():.2g} % of the values are below 0 after the offset"
            f" {settings.offset:g}, down to {counts.min():g}; expected counts ≥ 0, so correct offset, or set negative"
            " values to 0"
        )
    return counts


def _check_sampling(pixel_size_a: float, voltage_kv: float, semiangle_mrad: float) -> None:
    """Refuse pixels that undersample an image of the microscope."""
    largest_a = wavelength_a(voltage_kv) / (4e-3 * semiangle_mrad)
    if pixel_size_a > largest_a * (1 + 1e-6):
        raise InputError(
            f"pixel_size_a: {pixel_size_a:g} Å undersamples an image at {voltage_kv:g} kV and {semiangle_mrad:g} mrad,"
            f" which holds spatial frequencies up to 2α/λ = {0.5 / largest_a:.3g} per Å, so a pixel may be"
            f" {largest_a:.3g} Å at most; correct pixel_size_a, or scan more finely"
        )


def segment_order(azimuth_deg: float, clockwise: bool) -> list[int]:
    """For each of the network's segments the index of the user's image that covers it.

    Args:
        azimuth_deg: at which the first image's segment begins, from +y towards +x, a multiple of 90.
        clockwise: whether the segments follow from +x to +y.
    """
    begin = round(azimuth_deg / 90)
    covered = [(begin - k - 1 if clockwise else begin + k) % SEGMENTS for k in range(SEGMENTS)]
    return [covered.index(segment) for segment in range(SEGMENTS)]


def segment_weights(
    shape: tuple[int, int], disc: Disc, semiangle_mrad: float, ring: tuple[float, float], settings: Apply
) -> np.ndarray:
    """The share of every detector pixel that lies on each of the network's segments, float64 (4, H, W).

    Raises:
        InputError: the ring extends beyond the detector.
    """
    px_per_mrad = disc.radius_px / semiangle_mrad
    center, outer_px = disc.center_px, ring[1] * px_per_mrad
    distance_px = min(min(middle + 0.5, n - 0.5 - middle) for middle, n in zip(center, shape, strict=True))
    if outer_px > distance_px:
        raise InputError(
            f"ring_mrad: {ring[1]:g} mrad are {outer_px:.1f} px from the disc's centre {center[0]:.1f},"
            f" {center[1]:.1f}, but the edge of the detector is {distance_px:.1f} px away; choose a ring of at most"
            f" {distance_px / px_per_mrad:.3g} mrad, or correct center_px and disc_radius_px"
        )
    # The detector takes frequencies; they are computed from angles at this voltage, and the result is the same at any
    kilovolt = 200.0
    per_mrad = 1e-3 / wavelength_a(kilovolt)
    sign = -1.0 if settings.clockwise else 1.0
    azimuth = math.radians(settings.segment_azimuth_deg)
    ring_detector = Detector(*ring, segments=SEGMENTS)
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij")
    weights = torch.zeros(SEGMENTS, shape[0] * shape[1], dtype=torch.float64)
    offsets = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    for down, right in product(offsets, repeat=2):
        y = (rows + down - center[0]).flatten() / px_per_mrad
        x = (columns + right - center[1]).flatten() / px_per_mrad * sign
        along_y = math.cos(azimuth) * y - math.sin(azimuth) * x
        along_x = math.sin(azimuth) * y + math.cos(azimuth) * x
        weights += ring_detector.masks(per_mrad * torch.stack([along_y, along_x], dim=1), kilovolt)
    return (weights / len(offsets) ** 2).reshape(SEGMENTS, *shape).numpy()


@dataclass(frozen=True)
class _Metadata:
    """Metadata from the settings, or from the .npz that holds the images.

    stored: arrays of the .npz by name; none for other files.
    where: the file as messages name it.
    """

    settings: Apply
    stored: Mapping[str, np.ndarray]
    where: str

    def number(self, key: str, name: str) -> float:
        setting = getattr(self.settings, key)
        if setting is not None:
            return setting
        values = np.unique(self._stored_values(key, name))  # a pixel may be given by both of its sides
        if values.size != 1 or not values[0] > 0:
            raise InputError(
                f"{self.where}: {name} in the file is {values.tolist()}, expected one positive number; set {key}"
            )
        return float(values[0])

    def ring(self, microscope: MicroscopeSettings) -> tuple[float, float]:
        if self.settings.ring_mrad is not None:
            return self.settings.ring_mrad
        if self.settings.patterns is not None:
            return microscope.matched_ring_mrad
        rings = self._stored_values("ring_mrad", "detector")
        row = 1 if self.settings.dataset == "input_matched" else 0
        ring = rings[row] if rings.shape == (2, 2) else rings
        if ring.shape != (2,) or not 0 <= ring[0] < ring[1]:
            raise InputError(
                f"{self.where}: detector in the file is {rings.tolist()}, expected inner and outer angle, mrad; set"
                " ring_mrad"
            )
        return float(ring[0]), float(ring[1])

    def of_each(
        self, key: str, name: str, n: int, shape: tuple[int, ...], default: np.ndarray | None = None
    ) -> np.ndarray:
        setting = getattr(self.settings, key)
        if setting is not None:
            labels = np.array(setting, dtype=np.float64)
        elif default is not None and name not in self.stored:
            labels = default
        else:
            labels = self._stored_values(key, name)
        if labels.shape not in (shape, (n, *shape)):
            raise InputError(
                f"{self.where}: {name} in the file has the shape {labels.shape} for {n} samples; set {key}"
            )
        if key == "thickness_nm" and not (labels > 0).all():
            raise InputError(
                f"{self.where}: {name} in the file holds {labels.min():g}, expected thicknesses > 0; set {key}"
            )
        return np.broadcast_to(labels, (n, *shape)).copy()

    def _stored_values(self, key: str, name: str) -> np.ndarray:
        if name not in self.stored:
            raise InputError(f"{self.where}: the file has no {name}; set {key}")
        values = self.stored[name]
        if values.dtype.kind not in "biuf" or values.size == 0 or not np.isfinite(values).all():
            raise InputError(f"{self.where}: {name} in the file holds values that are not finite numbers; set {key}")
        return values.astype(np.float64)


def _trained_detector(
    microscope: MicroscopeSettings, voltage_kv: float, semiangle_mrad: float, ring: tuple[float, float]
) -> str:
    differences = []
    for key, value in (("voltage_kv", voltage_kv), ("semiangle_mrad", semiangle_mrad)):
        trained = getattr(microscope, key)
        if abs(value / trained - 1) > _TOLERANCE:
            differences.append((f"{key} {trained:g}", f"potential.synthesize.microscope.{key}: {value:g}"))
    detectors = {RING: microscope.ring_mrad, MATCHED: microscope.matched_ring_mrad}
    fitting = [
        name
        for name, angles in detectors.items()
        if all(abs(a - b) <= _TOLERANCE * ring[1] for a, b in zip(angles, ring, strict=True))
    ]
    if not fitting:
        key = "matched_ring_mrad" if ring[1] <= semiangle_mrad * (1 + _TOLERANCE) else "ring_mrad"
        rings = " and ".join(f"[{inner:g}, {outer:g}]" for inner, outer in detectors.values())
        setting = f"potential.synthesize.microscope.{key}: [{ring[0]:g}, {ring[1]:g}]"
        differences.append((f"detectors {rings} mrad", setting))
    if differences:
        raise InputError(
            f"the images are of {voltage_kv:g} kV, {semiangle_mrad:g} mrad and a ring of {ring[0]:g} to"
            f" {ring[1]:g} mrad, but the network is trained for {', '.join(trained for trained, _ in differences)}; set"
            f" {' and '.join(key for _, key in differences)}, so that it is trained for them"
        )
    return fitting[0]


def _integrated(
    settings: Apply, path: Path, semiangle_mrad: float, ring: tuple[float, float]
) -> tuple[np.ndarray, float, dict[str, Any]]:
    """Counts (1, 4, Ry, Rx) on the segments, the mean sum of a pattern, and centre and radius of the disc."""
    with open_scan([path], settings.dataset, settings.scan_shape) as scan:
        if scan.raster is None:
            raise InputError(f"{scan.where} has the shape {scan.patterns.shape}; set scan_shape: [rows, columns]")
        if min(scan.raster) < SMALLEST_PX:
            raise InputError(
                f"{scan.where} has {scan.raster[0]} × {scan.raster[1]} scan points, expected at least {SMALLEST_PX}"
                " a side"
            )
        mean = scan.mean_pattern()
        disc = find_disc(mean, "center_px and disc_radius_px", settings.center_px, settings.disc_radius_px)
        weights = segment_weights(mean.shape, disc, semiangle_mrad, ring, settings).reshape(SEGMENTS, -1)
        counts = np.concatenate([part.reshape(len(part), -1) @ weights.T for part in scan.chunks()])
    images = checked(counts.T.reshape(1, SEGMENTS, *scan.raster), scan.where)
    return images, float(mean.sum()), {"center_px": list(disc.center_px), "radius_px": disc.radius_px}


def _dose(settings: Apply, incident: float | None, pixel_size_a: float) -> tuple[float, float]:
    """Counts of the full beam in a pixel, and electrons per Å²; counts_per_electron gives one from the other."""
    per_electron, dose = settings.counts_per_electron, settings.dose_e_per_a2
    if incident is None:
        return dose * pixel_size_a**2 * per_electron, dose
    return incident, dose or incident / per_electron / pixel_size_a**2


def _check_shares(shares: np.ndarray, electrons: float, where: str) -> None:
    """Refuse shares above 1 by more than shot noise explains; electrons: of the full beam in a pixel."""
    total = shares.sum(axis=1)
    mean, high = float(total.mean()), float(np.quantile(total, 0.999))
    # Six standard deviations of a Poisson count, and six electrons for low counts
    shot_noise = 6.0 / math.sqrt(electrons) + 6.0 / electrons
    if mean > 1.0 + _TOLERANCE or high > 1.0 + _TOLERANCE + shot_noise:
        raise InputError(
            f"{where}: the four segments together hold {mean:.3g} of the incident beam on average, {high:.3g} in the"
            " brightest pixels, but at most 1 is possible; enlarge incident (or counts_per_electron, if dose_e_per_a2"
            " is given)"
        )
