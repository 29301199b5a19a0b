"""Scans of an experiment that differs from what the estimators assume, by name; all at full dose.

defocus_20a: the probe has 20 Å more defocus than the one in the file.
rotation_3deg: the scan is rotated by 3° about its centre, but not the positions in the file.
positions_0.3px: every pattern was recorded 0.3 object px rms in each direction from where the file says.
source_0.5px: the source is a Gaussian of 0.5 object px rms in each direction: patterns of shifted probes add up.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.optics.diffraction import diffraction_pattern, far_field, near_field
from workflow_scripts.optics.noise import poisson_counts
from workflow_scripts.optics.probe import aberration_phase, shift_probe
from workflow_scripts.optics.waves import wavelength_a

DEFOCUS_A, ROTATION_DEG, POSITION_RMS_PX, SOURCE_RMS_PX = 20.0, 3.0, 0.3, 0.5
PERTURBATIONS = ("defocus_20a", "rotation_3deg", "positions_0.3px", "source_0.5px")
# Gauss–Hermite with three nodes along each axis: exact for the first five moments of the Gaussian.
_NODES = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))

_BATCH = 256


def simulate(
    name: str,
    probe: Tensor,
    pixel_size_a: float,
    voltage_kv: float,
    fine_object: Tensor,
    positions_px: Tensor,
    dose_e: float,
    generator: torch.Generator,
) -> Tensor:
    """Counts (N, n, n) of one of `PERTURBATIONS`; estimators read `probe` and `positions_px`.

    Args:
        probe: complex (n, n).
        fine_object: (H, W) in rad on the fine grid; its border values are continued outwards.
        positions_px: (N, 2) as [y, x] in object pixels.
    """
    centre = (positions_px.amin(0) + positions_px.amax(0)) / 2
    reach = math.hypot(*(positions_px - centre).abs().amax(0).tolist())
    margin_px = math.ceil(reach * math.radians(ROTATION_DEG) + 3 * POSITION_RMS_PX)
    border = [margin_px * forward.UPSAMPLING] * 4
    padded = functional.pad(fine_object[None, None], border, mode="replicate")[0, 0]
    if name == "defocus_20a":
        probe = defocused(probe, DEFOCUS_A, pixel_size_a, voltage_kv)
    if name == "rotation_3deg":
        positions_px = centre + forward.rotated(positions_px - centre, ROTATION_DEG)
    if name == "positions_0.3px":
        error = torch.randn(positions_px.shape, generator=generator, dtype=torch.float64).clamp(-3, 3)
        positions_px = positions_px + POSITION_RMS_PX * error
    nodes = _NODES if name == "source_0.5px" else ((0.0, 1.0),)
    weights = [along_y * along_x for _, along_y in nodes for _, along_x in nodes]
    offsets = SOURCE_RMS_PX * torch.tensor([[y, x] for y, _ in nodes for x, _ in nodes], dtype=torch.float64)
    probes = list(zip(weights, shift_probe(probe, offsets), strict=True))
    counts = []
    for part in (positions_px + margin_px).split(_BATCH):
        phase = forward.window_at(padded, part, probe.shape[-1], forward.UPSAMPLING)
        intensity = sum(weight * diffraction_pattern(moved, phase) for weight, moved in probes)
        counts.append(poisson_counts(intensity, dose_e, generator))
    return torch.cat(counts)


def defocused(probe: Tensor, defocus_a: float, pixel_size_a: float, voltage_kv: float) -> Tensor:
    """The probe (n, n) with `defocus_a` Å added to its defocus; positive is underfocus."""
    n = probe.shape[-1]
    axis = torch.arange(n, dtype=torch.float64) - n // 2
    angle_rad = torch.hypot(axis[:, None], axis) * (wavelength_a(voltage_kv) / (n * pixel_size_a))
    chi = aberration_phase(angle_rad, voltage_kv, defocus_a, 0.0)
    return near_field(far_field(probe) * torch.polar(torch.ones_like(chi), -chi))
