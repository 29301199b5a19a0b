"""How wide a field of view and how fine a pixel an image needs, by the error against the widest and the finest.

The probe spreads with depth and, in a field that repeats, meets itself: a field of view as wide as the probe's
geometrical spread, 2 α t, holds the cone of the beam at the depth t; what scatters further wraps around too. Pixels
carry waves up to two thirds of their Nyquist frequency: what scatters beyond is lost, which affects thick and heavy
specimens most. Errors are those of the image series themselves, by Parseval's theorem.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product

import torch

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.plane_waves import Probe
from workflow_scripts.optics.waves import wavelength_a
from workflow_scripts.potential.settings import MultisliceSettings
from workflow_scripts.potential.simulation import specimens
from workflow_scripts.potential.simulation.samples import MATCHED, RING, Microscope
from workflow_scripts.potential.simulation.structures import Crystal
from workflow_scripts.study.rounding import number

COLUMNS = (
    *("sweep", "detector", "thickness_nm", "field_a", "pixel_a", "cone_a"),
    *("error_percent_of_contrast", "error_percent_of_mean"),
)
_SEGMENTS = 4
# Slices are coarse, since their errors are the same in all fields and pixels
_SAMPLING = MultisliceSettings(pixel_a=0.1, slice_a=4.0, field_a=10.0, phonon_configurations=0, memory_mib=1024)
# The band limit of the coarsest pixels, two thirds of Nyquist, lies this factor beyond the detectors
_MARGIN = 1.02
_NARROW_A = 12.0  # the field in which pixels are compared


def field_errors(
    crystal: Crystal, microscope: Microscope, fields_a: Sequence[float], thickness_nm: Sequence[float]
) -> list[dict[str, str | float]]:
    """Error of the segmented images of an untilted crystal by field of view, against the widest field.

    Args:
        crystal: its unit cell.
        microscope: voltage, semiangle and detectors; the probe is focused on the entrance and has no other aberration.
        fields_a: wanted, rising; each is tiled up to whole unit cells.
        thickness_nm: rising.

    Returns:
        rows of `COLUMNS`: the shorter side of the field as computed, and of the cone 2 α t at the exit, Å; RMS of the
        difference over positions and segments in percent of the image's own contrast (its RMS about the mean) and of
        its mean. The widest field is the reference and has no row; fields that tile to the same size share one.
    """
    pixel_a = _coarsest_pixel_a(microscope)
    images_by_field = {}
    for field_a in fields_a:
        tiled_a = _tiled(crystal, field_a)
        if tiled_a not in images_by_field:
            images_by_field[tiled_a] = _images(crystal, microscope, field_a, pixel_a, thickness_nm)
    rows = _errors(images_by_field, max(images_by_field), thickness_nm, microscope)
    return [row | {"sweep": "field", "field_a": size, "pixel_a": pixel_a} for size, row in rows]


def pixel_errors(
    crystal: Crystal, microscope: Microscope, pixels_a: Sequence[float], thickness_nm: Sequence[float]
) -> list[dict[str, str | float]]:
    """Error by size of the pixels, against the finest, in a narrow field; otherwise as `field_errors`.

    Args:
        pixels_a: largest sides, falling; those that do not carry the detectors are left out.
    """
    carrying = [pixel_a for pixel_a in pixels_a if pixel_a <= _coarsest_pixel_a(microscope) * _MARGIN]
    images_by_pixel = {pixel_a: _images(crystal, microscope, _NARROW_A, pixel_a, thickness_nm) for pixel_a in carrying}
    rows = _errors(images_by_pixel, min(images_by_pixel), thickness_nm, microscope)
    field_a = _tiled(crystal, _NARROW_A)
    return [row | {"sweep": "pixel", "field_a": field_a, "pixel_a": size} for size, row in rows]


def as_text(rows: Sequence[dict[str, str | float]]) -> list[dict[str, str]]:
    """The rows as they are written: six digits, the same on every machine."""
    return [{key: value if isinstance(value, str) else number(value) for key, value in row.items()} for row in rows]


def _coarsest_pixel_a(microscope: Microscope) -> float:
    outer_mrad = max(ring[1] for ring in microscope.ring_mrad.values())
    return 1e3 * wavelength_a(microscope.voltage_kv) / (3 * _MARGIN * outer_mrad)


def _tiled(crystal: Crystal, field_a: float) -> float:
    """Shorter side of the field as computed, Å."""
    return min(side * math.ceil(field_a / side - 1e-9) for side in crystal.cell_a[1:])


def _images(
    crystal: Crystal, microscope: Microscope, field_a: float, pixel_a: float, thickness_nm: Sequence[float]
) -> torch.Tensor:
    """Coefficients (T, 8, …) of the four segments of either detector."""
    detectors = [Detector(*microscope.ring_mrad[name], segments=_SEGMENTS) for name in (RING, MATCHED)]
    # Not validated: at a low voltage pixels may be larger than training images may have
    sampling = _SAMPLING.model_copy(update={"pixel_a": pixel_a, "field_a": field_a})
    probe, cpu = Probe(microscope.voltage_kv, microscope.semiangle_mrad), torch.device("cpu")
    computed = specimens.compute(crystal, probe, detectors, thickness_nm, sampling, torch.Generator(), cpu)
    return computed.images.coefficients.to(torch.complex128)


def _errors(
    images_by_size: Mapping[float, torch.Tensor],
    reference_size: float,
    thickness_nm: Sequence[float],
    microscope: Microscope,
) -> list[tuple[float, dict[str, str | float]]]:
    """The size and the other columns of a row for every detector, thickness and size but the reference."""
    best = images_by_size[reference_size]
    middle = tuple(side // 2 for side in best.shape[-2:])
    rows = []
    for (place, name), (index, thickness) in product(enumerate((RING, MATCHED)), enumerate(thickness_nm)):
        segments = slice(_SEGMENTS * place, _SEGMENTS * (place + 1))
        reference = best[index, segments]
        mean = reference[:, middle[0], middle[1]].real
        contrast = reference.abs().square().sum(dim=(1, 2)) - mean.square()  # (4,)
        for size, series in images_by_size.items():
            if size == reference_size:
                continue
            error = (series[index, segments] - reference).abs().square().sum(dim=(1, 2)).mean().sqrt()
            row = {
                "detector": name,
                "thickness_nm": float(thickness),
                "cone_a": 2 * microscope.semiangle_mrad * 1e-2 * thickness,
                "error_percent_of_contrast": float(100 * error / contrast.mean().sqrt()),
                "error_percent_of_mean": float(100 * error / mean.mean()),
            }
            rows.append((size, row))
    return rows
