"""From overlapping phase patches to one image: least squares, and the published damped average.

A diffraction pattern does not determine the mean of its patch, so every patch b_j carries one unknown
offset c_j. Least squares minimises

    Σ_j Σ_p w_p (b_jp − a(x_j + p) + c_j)²

over the image a and the offsets. Eliminating c_j leaves A a = Σ_j w (b_j − ⟨b_j⟩_w) with

    A a = (w ⊛ N)·a − w ⊛ (N/Σw · (w ⋆ a)),      N = Σ_j δ(x_j),

because all patches share the illumination w: two small convolutions, whatever the number of patches.
A has the symbol of a Laplacian beyond the size of a patch, so plain conjugate gradients would leave the
long periods behind; the preconditioner carries them on a coarse grid. All is solved in float64: on
white noise single precision leaves errors up to 0.5 % in the transfer beyond 100 px, whatever the tolerance.
"""

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csgraph, csr_matrix
from torch.nn import functional

from workflow_scripts.diffractive_imaging.networks.layout import Layout, lay_out
from workflow_scripts.diffractive_imaging.simulation.forward import UPSAMPLING
from workflow_scripts.learning.devices import host_work
from workflow_scripts.workflow.errors import InputError

# On the preconditioned residual, relative to the first; 1e-5 takes about ten iterations.
TOLERANCE, MAX_ITERATIONS = 1e-5, 200
USELESS_RESIDUAL = 1e-2  # with a larger one there is no image
# On perfect patches of white noise two passes raise the spectral SNR of periods of 100 px from below 1 to some
# hundreds, and more add nothing. A pass needs only a few digits of its correction.
SUBPIXEL_PASSES = 2
SUBPIXEL_TOLERANCE = 1e-3
LEAST_PATCHES = 2  # weight that a standard error needs, in units of one patch's largest weight
DAMPED_PASSES, DAMPED_STEP = 3, 0.1  # as published


@dataclass(frozen=True)
class Stitched:
    """An image on the fine grid.

    phase: (H, W) rad, NaN where no patch lies. Gauge: mean zero over the covered region; after `least_squares`,
        over each connected part of it.
    coverage: (H, W) Σ_j w, the weight that every pixel received.
    origin: (y, x) of pixel [0, 0] in object pixels, whole numbers: object pixel o lies at fine index
        upsampling · (o − origin).
    upsampling: fine pixels per object pixel.
    iterations: of conjugate gradients, or passes of the damped average.
    parts: connected parts, between which `least_squares` has no common phase.
    """

    phase: torch.Tensor
    coverage: torch.Tensor
    origin: tuple[int, int]
    upsampling: int
    iterations: int
    parts: int = 1

    def to_object_pixels(self) -> torch.Tensor:
        """Area mean over each object pixel, (H / upsampling, W / upsampling) rad; [0, 0] is `origin`."""
        return to_object_pixels(self.phase, self.upsampling)

    def transposed(self) -> "Stitched":
        """The same with y and x exchanged."""
        return replace(self, phase=self.phase.T, coverage=self.coverage.T, origin=self.origin[::-1])


def to_object_pixels(image: torch.Tensor, upsampling: int) -> torch.Tensor:
    """Area mean of a fine image (H, W) over object pixels centred on every `upsampling`-th fine pixel.

    For an even upsampling the outermost samples of an object pixel lie on its edge and count half.
    NaN marks no data: the mean is that of the valid part, and NaN where this is less than half of the area.
    """
    half = upsampling // 2
    taps = torch.ones(2 * half + 1, dtype=torch.float64, device=image.device)
    if upsampling % 2 == 0:
        taps[[0, -1]] = 0.5
    kernel = torch.outer(taps, taps)[None, None]
    present = ~torch.isnan(image)
    channels = torch.stack([torch.where(present, image, 0.0), present]).to(torch.float64)[:, None]  # (2, 1, H, W)
    total, area = functional.conv2d(channels, kernel, stride=upsampling, padding=half)[:, 0]
    rows, columns = (-(-length // upsampling) for length in image.shape)
    mean = torch.where(area >= kernel.sum() / 2, total / area, torch.nan)
    return mean[:rows, :columns].to(image.dtype)


@host_work()
def least_squares(
    patches: torch.Tensor, positions: torch.Tensor, weights: torch.Tensor, upsampling: int = UPSAMPLING
) -> Stitched:
    """The least-squares image of all patches, with one free offset per patch.

    patches: (N, n, n) phase in rad on the fine grid; pixel [n//2, n//2] lies on the position.
    positions: (N, 2) [y, x] in object pixels; their rounding to the fine grid is corrected to second order.
    weights: (n, n) illumination inside the mask, zero outside; its scale does not matter.
    Parts of the scan that share no pixel have no common phase: each part gets mean zero.
    Raises InputError for NaN inside the mask, for positions that span too large an image, and where the equations are
    not solved.
    """
    layout, pixels = lay_out(patches, positions, weights, upsampling)  # pixels: (N, K)
    _subtract_means(pixels, layout)
    right_side = layout.scatter(pixels.mul_(layout.weights))
    operator = NormalOperator(layout)
    rounded, iterations, relative = _conjugate_gradients(operator, right_side, TOLERANCE)
    image = rounded
    for _ in range(SUBPIXEL_PASSES):
        right_side = _rounding_correction(image, layout, operator.covered)
        change, more, _ = _conjugate_gradients(operator, right_side, SUBPIXEL_TOLERANCE)
        image, iterations = rounded + change, iterations + more
    if not relative <= USELESS_RESIDUAL:
        reached = f"after {iterations} iterations the relative residual is {relative:.1e}"
        raise InputError(f"stitching did not converge: {reached}, expected {TOLERANCE:.0e}; check the positions")
    if relative > TOLERANCE:
        warnings.warn(
            f"Stitching stopped after {iterations} iterations with a relative residual of {relative:.1e}, "
            f"not {TOLERANCE:.1e}: the longest periods may be wrong.",
            stacklevel=2,
        )
    means, parts = _part_means(image, layout)
    image = torch.where(operator.covered, image - means, torch.nan)
    phase = layout.crop(image).to(patches.dtype)
    return Stitched(phase, layout.crop(operator.coverage), layout.origin, upsampling, iterations, parts)


def residual_variance(
    stitched: Stitched, patches: torch.Tensor, positions: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Weighted variance of the patches about the image: Σ_j w (b_j − a + c_j)² / Σ_j w, (H, W) in rad².

    Arguments as given to `least_squares`, which made the image. NaN where no patch lies, and zero under a single
    patch: interpret it together with `Stitched.coverage`.
    """
    layout, misfit = lay_out(patches, positions, weights, stitched.upsampling)  # misfit: (N, K)
    image = torch.zeros(layout.shape, dtype=torch.float64, device=misfit.device)
    layout.crop(image).copy_(stitched.phase)
    for chunk, index in layout.indices():
        misfit[chunk] -= image.flatten()[index]
    _subtract_means(misfit, layout)
    total = layout.scatter(misfit.square_().mul_(layout.weights))
    return torch.where(stitched.phase.isnan(), torch.nan, layout.crop(total) / stitched.coverage)


@host_work()
def standard_error(
    stitched: Stitched, patches: torch.Tensor, positions_px: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """The uncalibrated standard error of each object pixel, (h, w) rad, on the grid of `Stitched.to_object_pixels`.

    The errors of the fine pixels in an object pixel are correlated, so their variances are averaged, not divided.
    NaN where fewer than `LEAST_PATCHES` patches overlap: a single one cannot disagree. `evaluation.metrics` explains
    how to interpret it.

    Args:
        stitched, patches, positions_px, weights: the image of `least_squares`, and the arguments that made it.
    """
    n_patches = stitched.coverage / weights.max()
    variance = residual_variance(stitched, patches, positions_px, weights) / n_patches
    variance = torch.where(n_patches >= LEAST_PATCHES, variance, torch.nan)
    return to_object_pixels(variance, stitched.upsampling).sqrt()


@host_work()
def damped_average(
    patches: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    *,
    upsampling: int = UPSAMPLING,
    generator: torch.Generator,
) -> Stitched:
    """The published stitch: a ← a + ⅒ (b − a + mean(a)) in the mask, patch by patch, shuffled each pass.

    Chang et al., doi:10.1103/PhysRevLett.130.016101, and their released code; only the shuffle is seeded
    here. Each patch b loses its own mean in the mask, and mean(a) is that of the image under the mask. A
    step leaves that mean alone, so detail longer than a patch only ever diffuses in: a high-pass filter.

    patches: (N, n, n) rad; positions: (N, 2) [y, x] in object pixels; mask: (n, n), where > 0.
    Raises InputError as `least_squares` does.
    """
    layout, pixels = lay_out(patches, positions, (mask > 0).to(torch.float64), upsampling)
    coverage = layout.scatter(torch.ones_like(pixels))
    _subtract_means(pixels, layout)
    rows, columns = layout.rows, layout.columns
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    boxes = torch.zeros((len(pixels), height, width), dtype=torch.float64)
    boxes[:, rows, columns] = DAMPED_STEP * pixels.cpu()
    in_box = torch.zeros((height, width), dtype=torch.float64)
    in_box[rows, columns] = 1.0

    boxes, in_box, image = boxes.numpy(), in_box.numpy(), np.zeros(layout.shape)
    average, damping = in_box / in_box.sum(), DAMPED_STEP * in_box
    tops, lefts = (part.tolist() for part in np.divmod(layout.corners.cpu().numpy(), layout.shape[1]))
    for _ in range(DAMPED_PASSES):
        for j in torch.randperm(len(boxes), generator=generator).tolist():
            view = image[tops[j] : tops[j] + height, lefts[j] : lefts[j] + width]
            view += boxes[j] + damping * ((average * view).sum() - view)

    image = torch.from_numpy(image).to(pixels.device)
    image = torch.where(coverage > 0, image - image[coverage > 0].mean(), torch.nan)
    phase = layout.crop(image).to(patches.dtype)
    return Stitched(phase, layout.crop(coverage), layout.origin, upsampling, DAMPED_PASSES)


class NormalOperator:
    """A of one layout, with the two halves of its preconditioner; images are (H, W) float64.

    covered: (H, W) bool, where a patch lies.
    coverage: (H, W) w ⊛ N, the diagonal of A but for the small part of the offsets.
    inverse_coverage: (H, W), 0 where no patch lies.
    """

    def __init__(self, layout: Layout):
        w, size = layout.weights, math.prod(layout.shape)
        kernel = torch.zeros(size, dtype=torch.float64, device=w.device)
        kernel[layout.offsets] = w
        count = torch.zeros_like(kernel).index_add_(0, layout.corners, kernel.new_ones(len(layout.corners)))
        kernel, count = kernel.reshape(layout.shape), count.reshape(layout.shape)
        # No patch reaches over the far edges, so the circular convolutions never wrap into the image.
        self.kernel = torch.fft.rfft2(kernel)
        touched = torch.fft.rfft2((kernel > 0).to(torch.float64))
        self.covered = _convolve((count > 0).to(torch.float64), touched) > 0.5
        self.coverage = torch.where(self.covered, _convolve(count, self.kernel), 0.0)
        self.inverse_coverage = torch.where(self.covered, 1.0 / self.coverage, 0.0)
        self.count = count / w.sum()

        # Long periods live on a grid a third to a quarter as fine as a patch is wide, continued evenly.
        self.factor = max(1, int(max(layout.rows.max(), layout.columns.max()) + 1) // 4)
        self.coarse = [-(-length // self.factor) for length in layout.shape]
        ky = torch.fft.fftfreq(2 * self.coarse[0], d=self.factor, dtype=torch.float64, device=w.device)
        kx = torch.fft.rfftfreq(2 * self.coarse[1], d=self.factor, dtype=torch.float64, device=w.device)
        along_y = torch.exp(-2j * torch.pi * ky[:, None] * layout.rows)  # (2H', K)
        along_x = torch.exp(-2j * torch.pi * kx[:, None] * layout.columns)  # (W' + 1, K)
        power = ((along_y * w) @ along_x.T).abs().square() / w.sum() ** 2  # |ŵ/Σw|²
        power = (power + power.flip(0).roll(1, 0)) / 2  # even in ky, as the continued image is
        # With constant coverage n the symbol of A is n·S, S = 1 − |ŵ/Σw|². The half with 1/coverage is right
        # where S → 1; what is left for the long periods is (1/S − 1)/n. The mean is free.
        symbol = power / (1 - power).clamp_min(1e-12)
        symbol[0, 0] = 0.0
        self.symbol = symbol / (self.coverage[self.covered].mean() * self.factor**2)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """A a = (w ⊛ N)·a − w ⊛ (N/Σw · (w ⋆ a))."""
        means = self.count * _convolve(image, self.kernel.conj())
        return self.coverage * image - torch.where(self.covered, _convolve(means, self.kernel), 0.0)

    def long_periods(self, residual: torch.Tensor) -> torch.Tensor:
        """The estimated error (H, W) behind a residual, at periods longer than a patch."""
        height, width = residual.shape
        sums = functional.avg_pool2d(residual[None], self.factor, ceil_mode=True, divisor_override=1)
        blocks = sums[0]  # (H', W')
        even = torch.cat([blocks, blocks.flip(0)], 0)
        even = torch.cat([even, even.flip(1)], 1)
        error = _convolve(even, self.symbol)[: self.coarse[0], : self.coarse[1]]
        fine = error.repeat_interleave(self.factor, 0).repeat_interleave(self.factor, 1)
        return torch.where(self.covered, fine[:height, :width], 0.0)


def _convolve(image: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """Circular convolution of an image (H, W) with the kernel that has this rfft2."""
    return torch.fft.irfft2(torch.fft.rfft2(image) * spectrum, s=image.shape)


def _subtract_means(pixels: torch.Tensor, layout: Layout) -> None:
    """Take from each patch (N, K) its mean under the weights, in place."""
    pixels -= (pixels @ (layout.weights / layout.weights.sum()))[:, None]


def _conjugate_gradients(
    operator: NormalOperator, right_side: torch.Tensor, tolerance: float
) -> tuple[torch.Tensor, int, float]:
    """Solve A a = right_side from a = 0; the image, the number of iterations and the final relative residual.

    The energy of the residual is insensitive to the long periods, where A is small, so the estimated error of
    the long periods must fall below the tolerance too.
    """
    image, residual = torch.zeros_like(right_side), right_side.clone()
    direction, last_energy, first_energy, first_long = 0.0, 1.0, 0.0, 0.0
    for iteration in range(MAX_ITERATIONS + 1):
        long = operator.long_periods(residual)
        step = operator.inverse_coverage * residual + long
        energy, long_norm = float((residual * step).sum()), float(long.norm())
        if iteration == 0:
            first_energy, first_long = energy, long_norm
        if energy <= 0:  # nothing left, or patches without contrast
            return image, iteration, 0.0
        relative = max(math.sqrt(energy / first_energy), long_norm / (first_long or 1.0))
        if relative <= tolerance or iteration == MAX_ITERATIONS:
            return image, iteration, relative
        direction = step + (energy / last_energy) * direction
        applied = operator(direction)
        length = energy / float((direction * applied).sum())
        image += length * direction
        residual -= length * applied
        last_energy = energy
    raise AssertionError("the loop returns")


def _rounding_correction(image: torch.Tensor, layout: Layout, covered: torch.Tensor) -> torch.Tensor:
    """The right side (H, W) that corrects for rounding the patches to the fine grid.

    A patch shows a(x_j + δ_j + p); about the rounded x_j this is a(x_j + p) + δ_j · ∇a + ½ δ_j · ∇∇a δ_j + O(δ³).
    """
    along_y, along_x = _slope(image, covered, 0), _slope(image, covered, 1)
    curved_y, curved_x = _slope(along_y, covered, 0), _slope(along_x, covered, 1)
    twisted = _slope(along_x, covered, 0)
    terms = [term.flatten() for term in (along_y, along_x, curved_y, curved_x, twisted)]
    y, x = layout.remainders.T
    factors = torch.stack([y, x, y * y / 2, x * x / 2, y * x], dim=1)  # (N, 5)
    right_side = torch.zeros_like(image).flatten()
    for chunk, index in layout.indices():
        correction = torch.zeros(index.shape, dtype=image.dtype, device=image.device)  # (n, K)
        for factor, term in zip(factors[chunk].T, terms, strict=True):
            correction.addcmul_(factor[:, None], term[index], value=-1)
        _subtract_means(correction, layout)
        correction.mul_(layout.weights)
        right_side.index_add_(0, index.flatten(), correction.flatten())
    return right_side.reshape(image.shape)


def _slope(image: torch.Tensor, covered: torch.Tensor, axis: int) -> torch.Tensor:
    """Differences (H, W) along an axis over covered pixels: central, one-sided at an edge, 0 for a lone pixel."""
    valid = covered & covered.roll(-1, axis)
    valid.select(axis, -1).fill_(False)  # the roll goes around
    forward = torch.where(valid, image.roll(-1, axis) - image, 0.0)
    count = valid.to(image.dtype)
    return (forward + forward.roll(1, axis)) / (count + count.roll(1, axis)).clamp_min(1.0)


def _part_means(image: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, int]:
    """At each pixel (H, W) the mean over its connected part: patches that share a pixel belong to one part.

    The graph joins every patch to its pixels; a pixel without a patch is a separate part.

    Returns:
        the means, and the number of parts with a patch.
    """
    corners = torch.unique(layout.corners).cpu().numpy()
    pixels = (corners[:, None] + layout.offsets.cpu().numpy()).astype(np.int32)  # (M, K)
    n_pixels = math.prod(layout.shape)
    n_nodes = n_pixels + len(corners)
    starts = np.concatenate([np.zeros(n_pixels), np.arange(0, pixels.size + 1, pixels.shape[1])])
    edges = np.ones(pixels.size, np.int8), pixels.ravel(), starts.astype(np.int32)
    _, labels = csgraph.connected_components(csr_matrix(edges, shape=(n_nodes, n_nodes)), directed=False)
    parts = len(np.unique(labels[n_pixels:]))
    labels = labels[:n_pixels]
    means = np.bincount(labels, image.cpu().flatten().numpy()) / np.bincount(labels)
    return torch.from_numpy(means[labels].reshape(layout.shape)).to(image.device), parts
