"""Differential phase contrast: the centre of mass of every pattern, integrated to a phase (iCOM).

The mean momentum of a pattern is the phase gradient under the probe: in detector pixels, relative to that of the
probe alone, n/2π · (|P|² ⋆ ∇φ)(x) (doi:10.1016/j.ultramic.2015.10.011). What is integrated is therefore
|P|² ⋆ φ; it is not deconvolved, as iCOM images are shown (doi:10.1038/ncomms15123 for the method in use).
"""

import math

import numpy as np
import torch
from scipy.sparse import coo_array, csc_array, diags_array, eye_array, kron, vstack
from scipy.sparse.linalg import spsolve
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.imaging import Predictions, image_arrays, predict_scans
from workflow_scripts.diffractive_imaging.networks.splines import TAPS, as_stitched, spline_slopes, spline_weights, taps
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, Scan
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.workflow.command import Job

# Weight of the second differences in the least squares: negligible where slopes are measured, it continues the image
# linearly beyond the outermost positions and interpolates between positions.
SMOOTHNESS = 0.1
_RIDGE = 1e-9  # fixes the gauge: the slopes leave the mean free


def predict(job: Job, device: torch.device) -> Predictions:
    """Images, no patches. Since it assumes neither a dose nor a probe shape, the perturbed scans are left out."""
    light = Illumination.read(job.input("test"))

    def image(scan: Scan, dose_e: float) -> dict[str, np.ndarray]:
        return image_arrays(reconstruct(scan.along_object().counts, scan.positions_px, light))

    return predict_scans(image, "fitted", job.input("test"), perturbed=False)


def center_of_mass(patterns: Tensor, origin_px: int) -> Tensor:
    """Centre of mass [y, x] of patterns (N, n, n), (N, 2) detector pixels from pixel [origin_px, origin_px].

    An empty pattern gives 0.
    """
    n = patterns.shape[-1]
    axis = torch.arange(n, dtype=torch.float64, device=patterns.device) - origin_px
    rows, columns = (patterns.sum(dim=dim, dtype=torch.float64) for dim in (2, 1))  # (N, n) each
    total = rows.sum(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.stack([rows @ axis, columns @ axis], dim=1) / total[:, None]


def phase_gradient(counts: Tensor, light: Illumination) -> Tensor:
    """Phase gradient [y, x] under the probe in rad per object pixel, (N, 2), from patterns (N, n, n)."""
    beam = diffraction_pattern(light.probe, torch.zeros(light.n, light.n, dtype=torch.float64))
    shift = center_of_mass(counts, light.n // 2) - center_of_mass(beam[None], light.n // 2).to(counts.device)
    return 2 * math.pi / light.n * shift


def reconstruct(counts: Tensor, positions_px: Tensor, light: Illumination) -> Stitched:
    """The image |P|² ⋆ φ of patterns (N, n, n), with the axes of the object, at positions (N, 2), object pixels."""
    return integrate(phase_gradient(counts, light).cpu(), positions_px, light)


def integrate(gradient: Tensor, positions_px: Tensor, light: Illumination) -> Stitched:
    """The image whose slopes at the positions are closest to a gradient (N, 2) [y, x], rad per object pixel.

    Least squares over cubic B-splines uses the exact positions, jittered or not; the sparse normal equations are
    solved directly, so the longest periods are as accurate as the others.
    """
    margin = light.n // (2 * TAPS) + TAPS  # half a patch, and the taps of the splines
    corner = positions_px.amin(0).floor().long() - margin
    height, width = (positions_px.amax(0).ceil().long() - corner + margin).tolist()
    slopes = _slope_matrices(positions_px - corner, (height, width))
    normal = sum(matrix.T @ matrix for matrix in slopes) + SMOOTHNESS**2 * _bending((height, width))
    normal = csc_array(normal + _RIDGE * eye_array(height * width))
    right_side = sum(matrix.T @ values.numpy() for matrix, values in zip(slopes, gradient.double().T, strict=True))
    coefficients = torch.from_numpy(spsolve(normal, right_side)).reshape(height, width)
    return as_stitched(coefficients, tuple(corner.tolist()), positions_px, light, iterations=1)


def _slope_matrices(points: Tensor, shape: tuple[int, int]) -> list[coo_array]:
    """Two sparse matrices (N, H · W): coefficients to their slope along y, and along x, at points (N, 2)."""
    first, fraction = taps(points)
    weights, slopes = spline_weights(fraction), spline_slopes(fraction)  # (N, 2, 4)
    indices = first[..., None] + torch.arange(TAPS)  # (N, 2, 4)
    columns = (indices[:, 0, :, None] * shape[1] + indices[:, 1, None, :]).flatten(1)  # (N, 16)
    rows = np.repeat(np.arange(len(points)), TAPS**2)
    matrices = []
    for along_y, along_x in ((slopes[:, 0], weights[:, 1]), (weights[:, 0], slopes[:, 1])):
        values = along_y[:, :, None] * along_x[:, None, :]
        index = (rows, columns.flatten().numpy())
        matrices.append(coo_array((values.flatten().numpy(), index), shape=(len(points), math.prod(shape))).tocsr())
    return matrices


def _bending(shape: tuple[int, int]) -> csc_array:
    """RᵀR of the second differences R along both axes of an image (H, W)."""
    second = [diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(length - 2, length)) for length in shape]
    both_axes = vstack([kron(second[0], eye_array(shape[1])), kron(eye_array(shape[0]), second[1])])
    return (both_axes.T @ both_axes).tocsc()
