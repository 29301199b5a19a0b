"""The user's patterns, read in parts and put on the grid of the study's network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import fftconvolve
from skimage.io import imread
from torch import Tensor
from torch.nn import functional

from workflow_scripts.matching.encoding import blurred
from workflow_scripts.matching.own_settings import ARRAYS, H5, Apply
from workflow_scripts.study.recorded_patterns import mean_pattern, scan_shape
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.own_files import chunks, opened

SMALLEST_PX = 16
_CENTRAL_SHARE, _CENTRAL_PX = 0.25, 0.03  # more of the electrons than that within so much of the side: the beam is seen


@dataclass(frozen=True)
class Layout:
    """How the patterns lie on the detector.

    number: patterns. scan: rows and columns, or None. side_px: smaller side of a pattern.
    center_px: [y, x] of the unscattered beam. radius_px: of the largest circle around it inside the pattern.
    electrons: mean of a pattern, outside of what is left out.
    """

    number: int
    scan: tuple[int, int] | None
    side_px: int
    center_px: tuple[float, float]
    radius_px: float
    electrons: float


class ImageFolder:
    """Images in the order of their names, as an array (N, H, W) that is read when it is sliced."""

    def __init__(self, paths: Sequence[Path], where: str) -> None:
        """Raises InputError: there are none, or the first cannot be used."""
        if not paths:
            raise InputError(f"{where}: holds no .png or .tif; correct the folder")
        self._paths = list(paths)
        first = _image(self._paths[0])
        self.shape = (len(self._paths), *first.shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        images = []
        for path in self._paths[rows]:
            image = _image(path)
            if image.shape != self.shape[1:]:
                raise InputError(
                    f"{path}: is {image.shape} px, but {self._paths[0].name} is {self.shape[1:]}; give one size"
                )
            images.append(image)
        return np.stack(images)


def _image(path: Path) -> np.ndarray:
    try:
        image = imread(path)
    except Exception as error:  # of several libraries
        raise InputError(f"{path}: cannot be read as an image ({type(error).__name__}); export it again") from None
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        channels = image[..., :3]
        if (channels != channels[..., :1]).any():
            raise InputError(f"{path}: is a colour image; a pattern has one value in each pixel: export it in grey")
        image = image[..., 0]
    if image.ndim != 2 or image.dtype.kind not in "uif":
        raise InputError(f"{path}: holds {image.dtype} of the shape {image.shape}, expected one grey image (H, W)")
    return image


@contextmanager
def opened_patterns(settings: Apply, paths: Sequence[Path]) -> Iterator[Any]:
    """The patterns (N, H, W) or (Ry, Rx, H, W), read when they are sliced.

    Raises:
        InputError: a file is broken or holds no patterns.
    """
    where = f"patterns: {settings.patterns}"
    if settings.patterns.lower().endswith((*H5, *ARRAYS)):
        with opened(paths[0], settings.dataset, "patterns") as array:
            yield array
    else:
        yield ImageFolder(paths, where)


def layout(settings: Apply, paths: Sequence[Path]) -> Layout:
    """Where the patterns lie, from their mean.

    Raises:
        InputError: a file is broken, patterns are too small, the centre lies outside, or the unscattered beam is seen.
    """
    where = f"patterns: {settings.patterns}"
    with opened_patterns(settings, paths) as stack:
        scan = scan_shape(tuple(stack.shape), settings.scan_shape, where)
        height, width = stack.shape[-2:]
        if min(height, width) < SMALLEST_PX:
            raise InputError(f"{where}: patterns are {height} × {width} px, expected {SMALLEST_PX} a side or more")
        mean = (mean_pattern(stack, where) - settings.offset) / settings.counts_per_electron
        number = int(np.prod(stack.shape[:-2]))
    center = settings.center_px or symmetric_center(mean)
    radius = min(center[0], center[1], height - 1 - center[0], width - 1 - center[1])
    if radius < SMALLEST_PX / 2:
        raise InputError(
            f"center_px: [{center[0]:.1f}, {center[1]:.1f}] leaves no circle in a pattern of {height} × {width} px;"
            " set center_px"
        )
    away = np.hypot(*np.ogrid[-center[0] : height - center[0], -center[1] : width - center[1]])[:height, :width]
    seen = np.where(away > settings.beam_stop_px, mean, 0.0)
    if settings.beam_stop_px >= radius:
        raise InputError(f"beam_stop_px: is {settings.beam_stop_px:g}, but the pattern's circle is {radius:.0f} px")
    total = seen.sum()
    if total <= 0:
        raise InputError(f"{where}: hold no electrons outside of beam_stop_px; check offset and beam_stop_px")
    central = seen[away <= max(2.0, _CENTRAL_PX * min(height, width))].sum()
    if central > _CENTRAL_SHARE * total:
        raise InputError(
            f"beam_stop_px: {central / total:.0%} of the electrons lie around the centre [{center[0]:.1f},"
            f" {center[1]:.1f}]: the unscattered beam is seen; set beam_stop_px to the radius of its disc"
        )
    return Layout(number, scan, min(height, width), tuple(map(float, center)), float(radius), float(total))


def symmetric_center(mean: np.ndarray) -> tuple[float, float]:
    """The point [y, x] about which a pattern (H, W) is most symmetric: half the place of its self-convolution's peak.

    Friedel's law makes the mean of many patterns symmetric; a beam stop takes nothing from that.
    """
    level = np.sqrt(np.clip(mean - np.median(mean), 0, None))
    found = fftconvolve(level, level)
    row, column = np.unravel_index(found.argmax(), found.shape)
    return row / 2, column / 2


def batches(settings: Apply, paths: Sequence[Path], found: Layout, side_px: int) -> Iterator[Tensor]:
    """Patterns on the network's grid: electrons float32 (B, side_px, side_px), the largest circle filling it.

    The total of what lies inside is kept; what beam_stop_px hides is 0.
    """
    where = f"patterns: {settings.patterns}"
    with opened_patterns(settings, paths) as stack:
        for _, part in chunks(stack, where):
            patterns = torch.from_numpy(part.reshape(-1, *stack.shape[-2:])).float()
            patterns = (patterns - settings.offset) / settings.counts_per_electron
            yield on_grid(patterns.clamp_min(0), found.center_px, found.radius_px, settings.beam_stop_px, side_px)


def on_grid(
    patterns: Tensor, center_px: tuple[float, float], radius_px: float, beam_stop_px: float, side_px: int
) -> Tensor:
    """Patterns (N, H, W) resampled so that the circle around their centre fills (N, side_px, side_px)."""
    height, width = patterns.shape[-2:]
    axis_y = torch.arange(height) - center_px[0]
    axis_x = torch.arange(width) - center_px[1]
    hidden = axis_y[:, None] ** 2 + axis_x**2 <= beam_stop_px**2
    if beam_stop_px > 0:
        patterns = patterns.masked_fill(hidden, 0.0)
    step = 2 * radius_px / (side_px - 1)
    if step > 1:  # finer than the grid: averaged first
        patterns = blurred(patterns, 0.5 * step)
    line = (torch.arange(side_px) - (side_px - 1) / 2) * step
    y, x = (2 * (line + center) / (size - 1) - 1 for center, size in zip(center_px, (height, width), strict=True))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).expand(len(patterns), -1, -1, -1)
    return functional.grid_sample(patterns[:, None], grid.to(patterns), align_corners=True)[:, 0] * step**2
