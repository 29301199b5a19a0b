"""How wide a field of view an image needs: the probe spreads with depth and, in a field that repeats, meets itself.

A field of view as wide as the probe's geometrical spread, 2 α t, holds the cone of the beam at the depth t; what
scatters further wraps around too. The error is that of the image series themselves, by Parseval's theorem.
"""

import math
from collections.abc import Sequence

import torch

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.plane_waves import Probe
from workflow_scripts.optics.waves import wavelength_a
from workflow_scripts.potential import specimens
from workflow_scripts.potential.samples import MATCHED, RING, Microscope
from workflow_scripts.potential.structures import Crystal
from workflow_scripts.study.tables import number

COLUMNS = ("detector", "thickness_nm", "field_a", "cone_a", "error_percent_of_contrast", "error_percent_of_mean")
_SEGMENTS = 4
_SLICE_A = 4.0  # coarse, for errors of the slices are the same in all fields
_MEMORY_MIB = 1024
# Pixels whose band limit, two thirds of Nyquist, lies this much beyond the detectors
_MARGIN = 1.02


def cell_errors(
    crystal: Crystal,
    light: Microscope,
    fields_a: Sequence[float],
    thickness_nm: Sequence[float],
    device: torch.device,
) -> list[dict[str, str | float]]:
    """Error of the segmented images of an untilted crystal by field of view, against the widest field.

    Args:
        crystal: its unit cell.
        light: voltage, semiangle and detectors; the probe is focused on the entrance and has no other aberration.
        fields_a: wanted, rising; each is tiled up to whole unit cells.
        thickness_nm: rising.
        device: where it is computed.

    Returns:
        rows of `COLUMNS`: the shorter side of the field as computed, and of the cone 2 α t at the exit, Å; RMS of the
        difference over positions and segments in percent of the image's own contrast (its RMS about the mean) and of
        its mean. The widest field has no row, for it is the reference; fields that tile alike have one.
    """
    outer_mrad = max(ring[1] for ring in light.ring_mrad.values())
    pixel_a = 1e3 * wavelength_a(light.voltage_kv) / (3 * _MARGIN * outer_mrad)
    probe = Probe(light.voltage_kv, light.semiangle_mrad)
    names = (RING, MATCHED)
    detectors = [Detector(*light.ring_mrad[name], segments=_SEGMENTS) for name in names]
    found = {}
    for field_a in fields_a:
        tiled_a = min(side * math.ceil(field_a / side - 1e-9) for side in crystal.cell_a[1:])
        if tiled_a not in found:
            fineness = specimens.Fineness(pixel_a, _SLICE_A, field_a, 0, _MEMORY_MIB)
            computed = specimens.compute(crystal, probe, detectors, thickness_nm, fineness, torch.Generator(), device)
            found[tiled_a] = computed.images.coefficients.to(torch.complex128)  # (T, 8, …)
    widest = found.pop(max(found))
    middle = tuple(side // 2 for side in widest.shape[-2:])
    rows = []
    for (index, thickness), (place, name) in (
        (depth, detector) for detector in enumerate(names) for depth in enumerate(thickness_nm)
    ):
        segments = slice(_SEGMENTS * place, _SEGMENTS * (place + 1))
        reference = widest[index, segments]
        mean = reference[:, middle[0], middle[1]].real
        contrast = reference.abs().square().sum(dim=(1, 2)) - mean.square()  # (4,)
        for tiled_a, series in found.items():
            error = (series[index, segments] - reference).abs().square().sum(dim=(1, 2)).mean().sqrt()
            rows.append(
                {
                    "detector": name,
                    "thickness_nm": float(thickness),
                    "field_a": tiled_a,
                    "cone_a": 2 * light.semiangle_mrad * 1e-2 * thickness,
                    "error_percent_of_contrast": float(100 * error / contrast.mean().sqrt()),
                    "error_percent_of_mean": float(100 * error / mean.mean()),
                }
            )
    return rows


def as_text(rows: Sequence[dict[str, str | float]]) -> list[dict[str, str]]:
    """The rows as they are written: six digits, the same on every machine."""
    return [{key: value if isinstance(value, str) else number(value) for key, value in row.items()} for row in rows]
