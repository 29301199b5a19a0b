"""The user's patterns, read in parts and put on the grid of the study's network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import label, maximum_filter, median_filter
from scipy.signal import fftconvolve
from torch import Tensor
from torch.nn import functional

from workflow_scripts.formats.scan import open_scan
from workflow_scripts.matching.apply.settings import Apply
from workflow_scripts.matching.networks.encoding import blurred
from workflow_scripts.workflow.errors import InputError

SMALLEST_PX = 16
FEWEST = 10  # least number of patterns for a mean that is symmetric enough to find the centre
# A hot pixel exceeds its neighbourhood by this factor, and by this number of electrons in the whole scan
_HOT, _HOT_E = 30.0, 50.0
_HOT_TOGETHER = 3  # largest group of touching hot pixels
_LARGEST_REACH_PER_A = 6.0  # planes 0.17 Å apart: no diffraction pattern reaches so far
# The unscattered beam is recorded where more than this share of the electrons lies within this share of the side
_CENTRAL_SHARE, _CENTRAL_PX = 0.25, 0.03


@dataclass(frozen=True)
class Layout:
    """Position of the patterns on the detector.

    number: of patterns. scan: rows and columns, or None. side_px: smaller side of a pattern.
    center_px: [y, x] of the unscattered beam. radius_px: of the largest circle around it inside the pattern.
    electrons: mean number in a pattern, outside of beam_stop_px.
    hot: [y, x] of hot pixels, which are replaced by the median of their neighbours.
    """

    number: int
    scan: Sequence[int] | None
    side_px: int
    center_px: Sequence[float]
    radius_px: float
    electrons: float
    hot: Sequence[Sequence[int]]


def layout(settings: Apply, paths: Sequence[Path]) -> Layout:
    """The layout of the patterns on the detector, from their mean.

    Raises:
        InputError: a file is broken, patterns are too small, the centre lies outside, or the unscattered beam is
            recorded.
    """
    with open_scan(paths, settings.dataset, settings.scan_shape) as scan:
        height, width = scan.pattern_shape
        if min(height, width) < SMALLEST_PX:
            raise InputError(f"{scan.where}: patterns are {height} × {width} px, expected {SMALLEST_PX} a side or more")
        mean = (scan.mean_pattern() - settings.offset) / settings.counts_per_electron
        number = len(scan)
    if settings.center_px is None:
        _check_symmetry(mean, number, scan.where)
    hot = hot_pixels(mean, number)
    mean = without_hot(torch.from_numpy(mean)[None], hot)[0].numpy()
    center = settings.center_px or symmetric_center(mean)
    radius = _circle_px(settings, center, mean.shape)
    electrons = _scattered_electrons(settings, mean, center, scan.where)
    return Layout(number, scan.raster, min(height, width), tuple(map(float, center)), float(radius), electrons, hot)


def _check_symmetry(mean: np.ndarray, number: int, where: str) -> None:
    """Refuse the mean of a number of patterns if its centre cannot be found by symmetry."""
    if np.ptp(mean) == 0:
        raise InputError(f"{where}: hold the same value everywhere; export them again")
    if number < FEWEST:
        raise InputError(
            f"center_px: {number} patterns are too few to find the unscattered beam by symmetry, expected {FEWEST} or"
            " more; set center_px"
        )


def _circle_px(settings: Apply, center: tuple[float, float], shape: tuple[int, int]) -> float:
    """Radius of the largest circle around the centre inside a pattern (H, W)."""
    height, width = shape
    radius = min(center[0], center[1], height - 1 - center[0], width - 1 - center[1])
    if radius < SMALLEST_PX / 2:
        raise InputError(
            f"center_px: [{center[0]:.1f}, {center[1]:.1f}] leaves no circle in a pattern of {height} × {width} px;"
            " set center_px"
        )
    if (reach := radius * settings.pixel_size_per_a) > _LARGEST_REACH_PER_A:
        raise InputError(
            f"pixel_size_per_a: with {settings.pixel_size_per_a:g} per Å the circle of {radius:.0f} px reaches"
            f" to {reach:.1f} per Å, where nothing scatters; it may be in 1/nm, which is ten times as much"
        )
    if settings.beam_stop_px >= radius:
        raise InputError(f"beam_stop_px: is {settings.beam_stop_px:g}, but the pattern's circle is {radius:.0f} px")
    return radius


def _scattered_electrons(settings: Apply, mean: np.ndarray, center: tuple[float, float], where: str) -> float:
    """Electrons of the mean pattern (H, W) outside of beam_stop_px; refused if the unscattered beam is among them."""
    height, width = mean.shape
    radius_px = np.hypot(*np.ogrid[-center[0] : height - center[0], -center[1] : width - center[1]])[:height, :width]
    scattered = np.where(radius_px > settings.beam_stop_px, mean, 0.0)
    total = scattered.sum()
    if total <= 0:
        raise InputError(f"{where}: hold no electrons outside of beam_stop_px; check offset and beam_stop_px")
    central = scattered[radius_px <= max(2.0, _CENTRAL_PX * min(height, width))].sum()
    if central > _CENTRAL_SHARE * total:
        raise InputError(
            f"beam_stop_px: {central / total:.0%} of the electrons lie around the centre [{center[0]:.1f},"
            f" {center[1]:.1f}]: the unscattered beam is recorded; set beam_stop_px to the radius of its disc"
        )
    return float(total)


def hot_pixels(mean: np.ndarray, number: int) -> tuple[tuple[int, int], ...]:
    """[y, x] of groups of one to three pixels that are far brighter than their neighbours in the mean pattern (H, W).

    A spot is never that sharp: even with a standard deviation of half a pixel, its pixels have at most 8 times the
    median of their neighbours.
    """
    neighbours = np.ones((3, 3), bool)
    neighbours[1, 1] = False
    around = np.maximum(median_filter(mean, footprint=neighbours, mode="mirror"), max(np.median(mean), 0.0))
    flank = mean < maximum_filter(mean, size=3, mode="mirror") / 10  # of a sharp spot
    hot = ~flank & (mean > _HOT * around) & (number * (mean - around) > _HOT_E)
    together, _ = label(hot, np.ones((3, 3)))
    hot &= np.bincount(together.ravel())[together] <= _HOT_TOGETHER
    return tuple((int(y), int(x)) for y, x in zip(*np.nonzero(hot), strict=True))


def without_hot(patterns: Tensor, hot: Sequence[Sequence[int]]) -> Tensor:
    """Patterns (N, H, W) with hot pixels replaced by the median of their neighbours that are not hot, or by 0."""
    if not hot:
        return patterns
    filled = patterns.clone()
    is_hot = torch.zeros(patterns.shape[1:], dtype=torch.bool)
    is_hot[tuple(zip(*hot, strict=True))] = True
    for y, x in hot:
        rows, columns = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
        neighbours = patterns[:, rows, columns][:, ~is_hot[rows, columns]]
        filled[:, y, x] = neighbours.median(dim=1).values if neighbours.shape[1] else 0.0
    return filled


def symmetric_center(mean: np.ndarray) -> tuple[float, float]:
    """The point [y, x] about which a pattern (H, W) is most symmetric: half the peak position of its self-convolution.

    By Friedel's law the mean over many orientations is symmetric, even with a beam stop. The pattern of a single
    orientation need not be: its strong spots may lie on one side.
    """
    level = np.sqrt(np.clip(mean - np.median(mean), 0, None))
    correlation = fftconvolve(level, level)
    row, column = np.unravel_index(correlation.argmax(), correlation.shape)
    return row / 2, column / 2


@dataclass(frozen=True)
class UserPatterns:
    """The user's patterns on the network's grid, in electrons: float32 (B, side_px, side_px).

    The largest circle around the centre fills the grid, its electrons are preserved; pixels within beam_stop_px are 0.

    Attributes:
        settings: the entry of the configuration.
        paths: its files.
        layout: of the patterns on the detector.
        side_px: of the grid.
    """

    settings: Apply
    paths: Sequence[Path]
    layout: Layout
    side_px: int

    def batches(self) -> Iterator[Tensor]:
        """All patterns in their order."""
        with open_scan(self.paths, self.settings.dataset) as scan:
            for patterns in scan.chunks():
                yield self._on_grid(patterns)

    def select(self, numbers: Sequence[int]) -> Tensor:
        """The patterns with these numbers in the order of `batches`."""
        with open_scan(self.paths, self.settings.dataset) as scan:
            return self._on_grid(scan.select(numbers))

    def _on_grid(self, patterns: np.ndarray) -> Tensor:
        electrons = torch.from_numpy(patterns.astype(np.float32)) - self.settings.offset
        electrons = without_hot(electrons / self.settings.counts_per_electron, self.layout.hot).clamp_min(0)
        beam_stop_px = self.settings.beam_stop_px
        return on_grid(electrons, self.layout.center_px, self.layout.radius_px, beam_stop_px, self.side_px)


def on_grid(
    patterns: Tensor, center_px: Sequence[float], radius_px: float, beam_stop_px: float, side_px: int
) -> Tensor:
    """Patterns (N, H, W) resampled so that the circle around their centre fills (N, side_px, side_px)."""
    height, width = patterns.shape[-2:]
    if beam_stop_px > 0:
        y, x = torch.arange(height) - center_px[0], torch.arange(width) - center_px[1]
        patterns = patterns.masked_fill(y[:, None] ** 2 + x**2 <= beam_stop_px**2, 0.0)
    step = 2 * radius_px / (side_px - 1)
    if step > 1:  # finer than the grid: averaged first
        patterns = blurred(patterns, 0.5 * step)
    line = (torch.arange(side_px) - (side_px - 1) / 2) * step
    y, x = (2 * (line + center) / (size - 1) - 1 for center, size in zip(center_px, (height, width), strict=True))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).expand(len(patterns), -1, -1, -1)
    return functional.grid_sample(patterns[:, None], grid.to(patterns), align_corners=True)[:, 0] * step**2
