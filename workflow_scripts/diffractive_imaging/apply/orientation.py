"""The orientation of the scan's axes on the detector, found from the patterns alone.

The centre of mass of a pattern is the gradient of the phase, averaged under the probe; along the right axes a
gradient has no curl (doi:10.1016/j.ultramic.2014.04.012). That leaves an ambiguity of 180°, and noise may blur the
minimum, so the candidates are compared by χ²: a few steps of gradient descent on the phase lower it most where the
positions are right. A scan rotated by 180°, a negative phase and the opposite defocus give the same patterns, so the
sign of the defocus must be right.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.estimators.dpc import center_of_mass
from workflow_scripts.diffractive_imaging.networks.losses import amplitude_misfit
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination
from workflow_scripts.diffractive_imaging.simulation.forward import rotated
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.optics.probe import shift_probe
from workflow_scripts.workflow.errors import InputError

_ANGLES_DEG = np.arange(0, 180, 2)
_REFINEMENTS_DEG = (8.0, 4.0, 2.0)
_POINTS = 16  # along each side of the block of the scan on which χ² is compared
_STEPS = 12
_BATCH = 96
_LEARNING_RATE = 0.01  # rad; Adam's steps are of this size


@dataclass(frozen=True)
class Orientation:
    """Rotation of the scan's axes against the detector's, from +x to +y, and whether the detector is transposed.

    search: what a search tried, as plain JSON; empty where the user named the orientation.
    """

    rotation_deg: float
    transposed: bool
    search: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Plain JSON."""
        orientation = {"rotation_deg": self.rotation_deg, "detector_transposed": self.transposed}
        return orientation | ({"search": self.search} if self.search else {})


def search(counts: Tensor, raster: Tensor, shape: tuple[int, int], light: Illumination) -> Orientation:
    """The orientation that explains the patterns best.

    Args:
        counts: (N, n, n) as recorded.
        raster: (N, 2) [y, x] in object pixels along the scan's axes.
        shape: (rows, columns) of the raster, N = rows · columns.
        light: the probe along the detector's axes as recorded, and the dose.

    Raises:
        InputError: the raster is too small for a search.
    """
    if min(shape) < 4:
        raise InputError(f"rotation: search needs a raster of at least 4 × 4 points, not {shape[0]} × {shape[1]}")
    block = _central_block(shape)
    centers_px = center_of_mass(counts, origin_px=0)
    field_px = (centers_px - centers_px.mean(dim=0)).numpy().reshape(*shape, 2)
    tried: dict[tuple[bool, float], float] = {}

    def misfit(transposed: bool, angle: float) -> float:
        angle %= 360
        if (transposed, angle) not in tried:
            positions = rotated(raster[block], angle)
            wave = light.probe.T if transposed else light.probe
            patterns = counts[block].transpose(1, 2) if transposed else counts[block]
            tried[transposed, angle] = descent_misfit(patterns, positions, wave, light.dose_e)
        return tried[transposed, angle]

    least_curl, starts = [], []
    for transposed in (False, True):
        curl = curl_by_angle(field_px, transposed)
        angle = float(_ANGLES_DEG[curl.argmin()])
        starts += [(transposed, angle), (transposed, angle + 180)]
        least_curl.append(
            {
                "detector_transposed": transposed,
                "rotation_deg_mod180": angle,
                "curl_over_mean_of_angles": float(curl.min() / curl.mean()),
            }
        )
    transposed, angle = min(starts, key=lambda start: misfit(*start))
    for step in _REFINEMENTS_DEG:
        candidates = (angle, angle - step, angle + step)
        angle = min(candidates, key=lambda candidate: misfit(transposed, candidate)) % 360
    misfits = [
        {"detector_transposed": flipped, "rotation_deg": candidate, "chi2_amplitude": chi2}
        for (flipped, candidate), chi2 in sorted(tried.items())
    ]
    return Orientation(angle, transposed, {"least_curl": least_curl, "misfit": misfits})


def curl_by_angle(field_px: np.ndarray, transposed: bool) -> np.ndarray:
    """Mean squared curl, at each angle of ``_ANGLES_DEG``, of a field (rows, columns, 2) [y, x] as recorded."""
    y, x = np.moveaxis(field_px[..., ::-1] if transposed else field_px, -1, 0)
    curls = []
    for angle in np.deg2rad(_ANGLES_DEG):
        along_x, along_y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        curl = np.gradient(along_y, axis=1) - np.gradient(along_x, axis=0)
        curls.append(np.mean(curl**2))
    return np.array(curls)


def descent_misfit(counts: Tensor, positions: Tensor, probe: Tensor, dose_e: float) -> float:
    """`amplitude_misfit` after a few steps of Adam from a flat phase.

    Args:
        counts: (N, n, n) along the object's axes.
        positions: (N, 2) [y, x] in object pixels.
        probe: complex (n, n) along the object's axes.
        dose_e: electrons per pattern.
    """
    n = probe.shape[-1]
    nearest = positions.round()
    probes = shift_probe(probe, positions - nearest).to(torch.complex64)  # (N, n, n)
    corner = (nearest - nearest.amin(dim=0)).long()
    phase = torch.zeros(*(int(side) + n for side in corner.amax(dim=0)), requires_grad=True)
    optimizer = torch.optim.Adam([phase], lr=_LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    axis = torch.arange(n)
    for _ in range(_STEPS):
        misfit = 0.0
        for index in torch.randperm(len(counts), generator=generator).split(_BATCH):
            rows, columns = corner[index, :1] + axis, corner[index, 1:] + axis  # (B, n) each
            expected = dose_e * diffraction_pattern(probes[index], phase[rows[:, :, None], columns[:, None, :]])
            loss = amplitude_misfit(expected, counts[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            misfit += float(loss.detach()) * len(index) / len(counts)
    return misfit


def _central_block(shape: tuple[int, int]) -> Tensor:
    """Indices of the patterns in the middle of the raster, at most ``_POINTS`` along each side."""
    rows, columns = (
        torch.arange(length)[(length - min(length, _POINTS)) // 2 :][: min(length, _POINTS)] for length in shape
    )
    return (rows[:, None] * shape[1] + columns).flatten()
