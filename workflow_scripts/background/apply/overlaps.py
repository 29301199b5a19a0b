"""Overlaps of neighbouring tiles, registered by the correlation of their high-passed logarithms."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter

REACH_PX = 15
HIGHPASS_PX = 8.0
LEAST_CORRELATION = 0.3  # for an overlap to count as registered
LEAST_OVERLAP_PX = 13  # thinner strips may correlate by chance


@dataclass(frozen=True)
class Overlap:
    """Two tiles that show the same specimen.

    Attributes:
        first, second: numbers of the tiles.
        shift_px: position of the second relative to the first, whole pixels [y, x].
        correlation: of the high-passed tiles in the overlap.
    """

    first: int
    second: int
    shift_px: tuple[int, int]
    correlation: float

    def slices(self, shape: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where the overlap lies in the first and in the second tile, of the given shape."""
        first = tuple(slice(max(0, d), min(n, n + d)) for d, n in zip(self.shift_px, shape, strict=True))
        second = tuple(slice(max(0, -d), min(n, n - d)) for d, n in zip(self.shift_px, shape, strict=True))
        return first, second


def neighbours(positions_px: np.ndarray, shape: tuple[int, int], reach_px: int = REACH_PX) -> list[tuple[int, int]]:
    """Pairs of adjacent tiles that can overlap, given the uncertainty of their positions.

    Args:
        positions_px: (N, 2) [y, x] of the tiles' corners.
        shape: of a tile, (H, W).
        reach_px: largest error of a position along each axis.
    """
    sides, pairs = np.array(shape), []
    for i, j in combinations(range(len(positions_px)), 2):
        distance = np.abs(positions_px[j] - positions_px[i])
        if (distance < sides + reach_px).all() and (distance < sides / 2).any():
            pairs.append((i, j))
    return pairs


def high_passed(log_tiles: np.ndarray) -> np.ndarray:
    """Log tiles (N, H, W) less their pixelwise median, high-passed by subtracting a Gaussian blur."""
    residual = log_tiles - np.median(log_tiles, axis=0)
    return residual - gaussian_filter(residual, (0, HIGHPASS_PX, HIGHPASS_PX))


def correlations(first: np.ndarray, second: np.ndarray, least_px: int = LEAST_OVERLAP_PX) -> np.ndarray:
    """Correlation coefficient in the overlap for every shift of the second image (H, W): (2 H − 1, 2 W − 1).

    Entry [H − 1 + dy, W − 1 + dx] is for the shift (dy, dx); it is −1 if the overlap is thinner than least_px. Sums
    over overlaps are computed as correlations with masks of ones (doi:10.1109/TIP.2011.2173204).
    """
    height, width = first.shape
    size = (next_fast_len(2 * height - 1, real=True), next_fast_len(2 * width - 1, real=True))
    ones = np.ones(first.shape)
    a, b = (image.astype(np.float64) - float(np.mean(image)) for image in (first, second))
    spectra_a = [rfft2(part, size) for part in (ones, a, a * a)]
    spectra_b = [np.conj(rfft2(part, size)) for part in (ones, b, b * b)]

    def summed(p: int, q: int) -> np.ndarray:
        full = irfft2(spectra_a[p] * spectra_b[q], size)
        return np.roll(full, (height - 1, width - 1), axis=(0, 1))[: 2 * height - 1, : 2 * width - 1]

    rows = height - np.abs(np.arange(1 - height, height))
    columns = width - np.abs(np.arange(1 - width, width))
    count = rows[:, None] * columns
    sum_a, sum_b = summed(1, 0), summed(0, 1)
    covariance = summed(1, 1) - sum_a * sum_b / count
    spread = (summed(2, 0) - sum_a**2 / count) * (summed(0, 2) - sum_b**2 / count)
    scale = (a * a).sum() * (b * b).sum()
    valid = (rows[:, None] >= least_px) & (columns >= least_px) & (spread > 1e-12 * scale)
    return np.where(valid, covariance / np.sqrt(np.where(valid, spread, 1.0)), -1.0)


def register(
    log_tiles: np.ndarray, positions_px: np.ndarray, reach_px: int = REACH_PX, least_px: int = LEAST_OVERLAP_PX
) -> list[Overlap]:
    """Registered overlaps of neighbours in the layout: the best shift within reach, if the high-passed tiles agree.

    Args:
        log_tiles: (N, H, W), raw.
        positions_px: (N, 2) [y, x] in the layout.
        reach_px: largest deviation of a shift from the layout along each axis.
        least_px: thickness of the thinnest overlap.
    """
    shape = log_tiles.shape[1:]
    passed = high_passed(log_tiles)
    overlaps = []
    for i, j in neighbours(positions_px, shape, reach_px):
        nominal = np.rint(positions_px[j] - positions_px[i]).astype(int)
        low = np.maximum(nominal - reach_px, 1 - np.array(shape))
        high = np.minimum(nominal + reach_px, np.array(shape) - 1)
        # Correlate only the strips that can overlap within reach; both have the same shape.
        start_i, start_j = np.maximum(0, low), np.maximum(0, -high)
        size = shape - np.maximum(start_i, start_j)
        strips = [passed[tile][a : a + size[0], b : b + size[1]] for tile, (a, b) in ((i, start_i), (j, start_j))]
        origin = size - 1 + start_j - start_i
        window = tuple(slice(a, b + 1) for a, b in zip(origin + low, origin + high, strict=True))
        values = correlations(*strips, least_px)[window]
        if values.size and values.max() > LEAST_CORRELATION:
            best = np.unravel_index(values.argmax(), values.shape)
            shift = (int(low[0] + best[0]), int(low[1] + best[1]))
            overlaps.append(Overlap(i, j, shift, float(values.max())))
    return overlaps
