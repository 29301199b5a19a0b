"""Differential phase contrast: the centre of mass of every pattern, integrated to a phase (iCOM) and deconvolved.

The mean momentum of a pattern is the phase gradient under the probe: in detector pixels, relative to that of the
probe alone, n/2π · (|P|² ⋆ ∇φ)(x) (doi:10.1016/j.ultramic.2015.10.011). What is integrated is therefore
|P|² ⋆ φ (doi:10.1038/ncomms15123 for the method in use). A Wiener filter undoes the blur by the known probe: the noise
of the gradient is white, so that of the image falls as 1/q², as the spectrum of a 1/f object does, and their ratio,
the filter's only parameter, is one number that follows from the patterns.
"""

import math

import numpy as np
import torch
from scipy.sparse import coo_array, csc_array, diags_array, eye_array, kron, vstack
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn import functional

from workflow_scripts.diffractive_imaging.networks.imaging import Predictions, image_arrays, predict_scans
from workflow_scripts.diffractive_imaging.networks.splines import TAPS, as_stitched, spline_slopes, spline_weights, taps
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, Scan
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.workflow.command import Job

# Weight of the second differences in the least squares: negligible where slopes are measured, it continues the image
# linearly beyond the outermost positions and interpolates between positions.
SMOOTHNESS = 0.1
# Added to the Wiener filter's ratio: what neither noise nor blur explains, such as the detector's edge.
MODEL_ERROR = 0.001
_RIDGE = 1e-9  # fixes the gauge: the slopes leave the mean free


def predict(job: Job, device: torch.device) -> Predictions:
    """Images, no patches."""
    light = Illumination.read(job.input("test"))

    def image(scan: Scan, dose_e: float) -> dict[str, np.ndarray]:
        return image_arrays(reconstruct(scan.along_object().counts, scan.positions_px, light))

    return predict_scans(image, "fitted", job.input("test"))


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


def gradient_variance(counts: Tensor, light: Illumination) -> tuple[float, float]:
    """Variance of `phase_gradient`, both components together, rad² per object pixel², of the object and of the noise.

    The noise is that of a mean over the electrons of a pattern, each with the spread of the mean pattern. The object's
    is what remains, at least a hundredth of the noise.
    """
    total = float(phase_gradient(counts, light).var(dim=0).sum())
    mean = counts.mean(dim=0, dtype=torch.float64)[None]  # (1, n, n)
    axis = torch.arange(light.n, dtype=torch.float64, device=counts.device) - light.n // 2
    squares = (mean * (axis.square()[:, None] + axis.square())).sum() / mean.sum()
    per_electron = float(squares - center_of_mass(mean, light.n // 2).square().sum())
    noise = (2 * math.pi / light.n) ** 2 * per_electron / float(mean.sum())
    return max(total - noise, 0.01 * noise), noise


def one_over_f_power(counts: Tensor, light: Illumination) -> float:
    """A of the power spectrum A / q² of the phase, rad², q in cycles per object pixel, from patterns (N, n, n).

    The gradient under the probe is |P|² ⋆ ∇φ with the variance 4π² A · mean |F|P|²|² over all q up to Nyquist along
    each axis, and the mean is Σ|P|⁴.
    """
    signal, _ = gradient_variance(counts, light)
    return signal / (4 * math.pi**2 * float(light.probe.abs().pow(4).sum()))


def reconstruct(counts: Tensor, positions_px: Tensor, light: Illumination) -> Stitched:
    """The image of patterns (N, n, n), with the axes of the object, at positions (N, 2), object pixels."""
    blurred, corner = integrate(phase_gradient(counts, light).cpu(), positions_px, light)
    area_px = float((positions_px.amax(0) - positions_px.amin(0) + 1).prod())
    signal, noise = gradient_variance(counts, light)
    kernel = light.probe.abs().square()
    # Power of the noise, that of one component over the patterns per pixel, over the object's as in `one_over_f_power`.
    ratio = noise / 2 * area_px / len(counts) / (signal / float(kernel.square().sum()))
    coefficients = wiener_deconvolved(blurred, kernel, ratio + MODEL_ERROR)
    return as_stitched(coefficients, corner, positions_px, light, iterations=1)


def wiener_deconvolved(image: Tensor, kernel: Tensor, ratio: float) -> Tensor:
    """An image (H, W) that was correlated with a kernel (n, n) of sum 1, centred at [n//2, n//2], deconvolved.

    ratio: power of the noise over that of the object, the same at all frequencies.
    """
    n, (height, width) = len(kernel), image.shape
    margin = min(n, height - 1, width - 1)
    padded = functional.pad(image[None, None], [margin] * 4, mode="reflect")
    # An image smaller than the kernel is continued by its edge
    padded = functional.pad(padded, [0, max(0, n - padded.shape[3]), 0, max(0, n - padded.shape[2])], mode="replicate")
    padded = padded[0, 0]
    mean = padded.mean()
    shifted = torch.zeros_like(padded)
    shifted[:n, :n] = kernel
    response = torch.fft.rfft2(shifted.roll((-(n // 2), -(n // 2)), (0, 1))).conj()  # of a correlation
    spectrum = torch.fft.rfft2(padded - mean) * response.conj() / (response.abs().square() + ratio)
    restored = torch.fft.irfft2(spectrum, s=padded.shape) + mean
    return restored[margin : margin + height, margin : margin + width]


def integrate(gradient: Tensor, positions_px: Tensor, light: Illumination) -> tuple[Tensor, tuple[int, int]]:
    """The image whose slopes at the positions are closest to a gradient (N, 2) [y, x], rad per object pixel.

    Least squares over cubic B-splines uses the exact positions, jittered or not; the sparse normal equations are
    solved directly, so the longest periods are as accurate as the others.

    Returns:
        coefficients (H, W) of the splines, and the object pixel (y, x) of the first.
    """
    margin = light.n // (2 * TAPS) + TAPS  # half a patch, and the taps of the splines
    corner = positions_px.amin(0).floor().long() - margin
    height, width = (positions_px.amax(0).ceil().long() - corner + margin).tolist()
    slopes = _slope_matrices(positions_px - corner, (height, width))
    normal = sum(matrix.T @ matrix for matrix in slopes) + SMOOTHNESS**2 * _bending((height, width))
    normal = csc_array(normal + _RIDGE * eye_array(height * width))
    right_side = sum(matrix.T @ values.numpy() for matrix, values in zip(slopes, gradient.double().T, strict=True))
    return torch.from_numpy(spsolve(normal, right_side)).reshape(height, width), tuple(corner.tolist())


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
