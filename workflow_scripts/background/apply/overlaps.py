"""Overlaps of neighbouring tiles: their positions, agreement of corrected tiles there, and the contrast that is left.

Two tiles show the same specimen in their overlap at different places of the flat field, so the difference of their
corrected logs there is error alone. A correction that blurs makes it small too, so contrast and injected absorbers
are reported beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter

Estimator = Callable[[np.ndarray], np.ndarray]  # log tiles (N, H, W) to log flat fields (N, H, W)

REACH_PX = 15
HIGHPASS_PX = 8.0
LEAST_CORRELATION = 0.3  # an overlap is kept above it
LEAST_OVERLAP_PX = 13  # a thinner strip correlates by chance
_GOLDEN = 0.6180339887498949
_OPTICAL_DENSITY = 0.1  # of injected discs


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
    """Pairs of tiles that lie side by side and overlap by at least a pixel somewhere within reach.

    Args:
        positions_px: (N, 2) [y, x] of the tiles' corners.
        shape: of a tile, (H, W).
        reach_px: by how much a position may err along each axis.
    """
    sides, pairs = np.array(shape), []
    for i, j in combinations(range(len(positions_px)), 2):
        distance = np.abs(positions_px[j] - positions_px[i])
        if (distance < sides + reach_px).all() and (distance < sides / 2).any():
            pairs.append((i, j))
    return pairs


def high_passed(log_tiles: np.ndarray) -> np.ndarray:
    """Log tiles (N, H, W) less their pixelwise median, less a Gaussian blur of what that leaves."""
    left = log_tiles - np.median(log_tiles, axis=0)
    return left - gaussian_filter(left, (0, HIGHPASS_PX, HIGHPASS_PX))


def correlations(first: np.ndarray, second: np.ndarray, least_px: int = LEAST_OVERLAP_PX) -> np.ndarray:
    """Correlation coefficient in the overlap for every shift of the second image (H, W): (2 H − 1, 2 W − 1).

    Entry [H − 1 + dy, W − 1 + dx] belongs to the shift (dy, dx); −1 where the overlap is thinner than least_px.
    Sums over overlaps are correlations with masks of ones (doi:10.1109/TIP.2011.2173204).
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
    """Overlaps of neighbours by the layout whose high-passed tiles agree; the shift is the best within reach.

    Args:
        log_tiles: (N, H, W), raw.
        positions_px: (N, 2) [y, x] by the layout.
        reach_px: by how much a shift may differ from the layout's along each axis.
        least_px: thickness of the thinnest overlap.
    """
    shape = log_tiles.shape[1:]
    passed = high_passed(log_tiles)
    overlaps = []
    for i, j in neighbours(positions_px, shape, reach_px):
        nominal = np.rint(positions_px[j] - positions_px[i]).astype(int)
        low = np.maximum(nominal - reach_px, 1 - np.array(shape))
        high = np.minimum(nominal + reach_px, np.array(shape) - 1)
        # Only the strips that can meet within reach; both have the same shape.
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


def overlap_residual(corrected: np.ndarray, overlaps: Sequence[Overlap]) -> float:
    """Standard deviation of the difference of corrected log tiles (N, H, W) in each overlap, mean over the overlaps."""
    residuals = []
    for overlap in overlaps:
        first, second = overlap.slices(corrected.shape[1:])
        residuals.append(np.std(corrected[overlap.first][first] - corrected[overlap.second][second], dtype=np.float64))
    return float(np.mean(residuals))


def leave_pair_out_residual(log_tiles: np.ndarray, overlaps: Sequence[Overlap]) -> float:
    """Overlap residual where each pair is corrected by the median of all other tiles, of which there must be one."""
    residuals = []
    for overlap in overlaps:
        pair = [overlap.first, overlap.second]
        flat = np.median(np.delete(log_tiles, pair, axis=0), axis=0)
        only = Overlap(0, 1, overlap.shift_px, overlap.correlation)
        residuals.append(overlap_residual(log_tiles[pair] - flat, [only]))
    return float(np.mean(residuals))


def contrast_retained(corrected: np.ndarray) -> float:
    """Standard deviation of the corrected log tiles (N, H, W), mean over the tiles."""
    return float(np.std(corrected, axis=(1, 2), dtype=np.float64).mean())


@dataclass(frozen=True)
class _Disc:
    """One disc of the specimen as a tile shows it: the tile's number and the centre [y, x], pixels."""

    tile: int
    centre: tuple[float, float]

    def window(self, shape: tuple[int, int], diameter_px: float) -> tuple[slice, slice]:
        """A square of twice the diameter around it, within the tile."""
        low = [max(0, round(c - diameter_px)) for c in self.centre]
        high = [min(n, round(c + diameter_px) + 1) for c, n in zip(self.centre, shape, strict=True)]
        return slice(low[0], high[0]), slice(low[1], high[1])


def disc_rounds(
    overlaps: Sequence[Overlap], shape: tuple[int, int], diameter_px: float
) -> list[list[tuple[_Disc, _Disc]]]:
    """One disc an overlap, in both of its tiles, in rounds of discs that share no pixel of the detector.

    A disc at the same pixels of several tiles would look like background. Discs lie in the middle of the thin side and
    at different places of the long one.
    """
    rounds: list[tuple[list[tuple[_Disc, _Disc]], np.ndarray]] = []
    for number, overlap in enumerate(overlaps):
        parts = overlap.slices(shape)
        lengths = [axis.stop - axis.start for axis in parts[0]]
        along = int(np.argmax(lengths))
        shares = [0.5, 0.5]
        shares[along] = 0.2 + 0.6 * ((0.5 + number * _GOLDEN) % 1)
        pair = tuple(
            _Disc(tile, tuple(axis.start + q * (n - 1) for axis, q, n in zip(part, shares, lengths, strict=True)))
            for tile, part in zip((overlap.first, overlap.second), parts, strict=True)
        )
        needed = np.zeros(shape, dtype=bool)
        for disc in pair:
            needed[disc.window(shape, diameter_px)] = True
        for members, taken in rounds:
            if not (taken & needed).any():
                members.append(pair)
                taken |= needed
                break
        else:
            rounds.append(([pair], needed))
    return [members for members, _ in rounds]


def recovered_slopes(
    estimator: Estimator, log_tiles: np.ndarray, overlaps: Sequence[Overlap], diameters_px: Sequence[float]
) -> dict[float, float]:
    """Share of the optical density of injected discs that a correction leaves, by diameter; 1 is perfect.

    A disc is multiplied into both tiles of an overlap at one place of the specimen. The estimator corrects the tiles
    once as they are, and then in the rounds of `disc_rounds`. The change of its corrected tiles is regressed on the
    injected density, with an intercept, in a square of twice the diameter around each disc, cut off at the edge of
    the tile; the mean over all discs is returned. An estimator that draws random numbers must draw the same every time.

    Args:
        estimator: log tiles (N, H, W) to log flat fields (N, H, W).
        diameters_px: of the discs.
    """
    shape = log_tiles.shape
    before = estimator(log_tiles)
    slopes = {}
    for diameter_px in diameters_px:
        shares = []
        for pairs in disc_rounds(overlaps, shape[1:], diameter_px):
            placed = [disc for pair in pairs for disc in pair]
            density = np.zeros(shape, dtype=np.float32)
            for disc in placed:
                density[disc.tile] += _OPTICAL_DENSITY * _disc(shape[1:], disc.centre, diameter_px)
            recovered = density + estimator(log_tiles - density) - before
            for disc in placed:
                window = disc.window(shape[1:], diameter_px)
                known = density[disc.tile][window].astype(np.float64)
                known -= known.mean()
                shares.append((known * recovered[disc.tile][window]).sum() / (known**2).sum())
        slopes[diameter_px] = float(np.mean(shares))
    return slopes


def _disc(shape: tuple[int, int], centre: tuple[float, float], diameter_px: float) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.clip(diameter_px / 2 + 0.5 - np.hypot(y - centre[0], x - centre[1]), 0, 1)
