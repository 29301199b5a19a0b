"""How well an image explains the recorded counts: reduced χ² of patterns that are simulated from it, without truth.

For the truth it is 1, apart from detail lost to object pixels. A value near 1 means that an image is compatible with
the data, not that it is right: χ² does not show errors that hardly change the patterns, such as those of the longest
periods.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from workflow_scripts.diffractive_imaging.evaluation.comparison import Prediction, Truth
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import CALIBRATION, Illumination, inside_raster
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.conditions import condition

PATTERNS = 200  # of each scan, at most: enough for χ² to a percent
LEAST_EXPECTED_E = 5  # Pearson's χ² needs counts that are not few
# Cubic splines and interpolation reach two object pixels beyond a window.
_REACH_PX = 2


def chi_square_rows(test: Path, truth: Truth, predictions: Sequence[Prediction], settings: Evaluate) -> Iterator[dict]:
    """`chi_square_reduced` of every image, the mean over photographs.

    Left out are scans smaller than a window, and doses so small that even without an object no detector pixel expects
    `LEAST_EXPECTED_E` electrons.
    """
    beam = diffraction_pattern(truth.light.probe, torch.zeros(truth.light.n, truth.light.n))
    for scans in truth.scan_sets:
        where, dose = condition(**scans.where), scans.dose_e
        if scans.where["object"] == CALIBRATION or not scans.is_plain or dose * beam.max() < LEAST_EXPECTED_E:
            continue
        measured = []  # counts and positions of each scan
        for scan in (recorded.along_object() for recorded in scans.read(test)):
            inner = inner_patterns(scan.positions_px, truth.light.n, settings.seed)
            measured.append((scan.counts[inner], scan.positions_px[inner]))
        if not all(len(counts) for counts, _ in measured):
            continue
        for prediction in predictions:
            if where not in prediction.images:
                continue
            images = prediction.images[where]
            values = [
                chi_square_reduced(image, origin, *patterns, truth.light, dose)
                for image, origin, patterns in zip(images.image_rad, images.origins_px, measured, strict=True)
            ]
            interval = bootstrap(
                pd.Series(values, index=scans.scans), seed=settings.seed, resamples=settings.bootstrap_samples
            )
            yield prediction.row("chi_square_reduced", "1", interval, where, "pretrain")


def inner_patterns(positions_px: Tensor, n: int, seed: int) -> Tensor:
    """Indices (M,) of at most `PATTERNS` patterns, drawn at random, whose whole window lies within the raster.

    The raster is covered by every estimator, so all are compared with the same patterns.
    """
    (inside,) = torch.nonzero(inside_raster(positions_px, n // 2 + _REACH_PX), as_tuple=True)
    order = torch.randperm(len(inside), generator=torch.Generator().manual_seed(seed))
    return inside[order[:PATTERNS]].sort().values


def chi_square_reduced(
    image_rad: np.ndarray,
    origin_px: tuple[int, int],
    counts: Tensor,
    positions_px: Tensor,
    light: Illumination,
    dose_e: float,
) -> float:
    """Mean of (counts − expected)² / expected over detector pixels where at least `LEAST_EXPECTED_E` are expected.

    Args:
        image_rad: (h, w) in object pixels from `origin_px` [y, x]; NaN where nothing is known.
        counts: (M, n, n) with the axes of the image.
        positions_px: (M, 2) [y, x] in object pixels.
        dose_e: electrons per pattern.
    """
    fine = _sharpened(np.nan_to_num(image_rad))
    windows = forward.window_at(fine, positions_px - torch.tensor(origin_px), light.n, forward.UPSAMPLING)
    expected = dose_e * diffraction_pattern(light.probe, windows)
    bright = expected >= LEAST_EXPECTED_E
    return float(((counts - expected).square() / expected)[bright].mean())


def _sharpened(image_rad: np.ndarray) -> Tensor:
    """The cubic spline, float64 on the fine grid, whose means over object pixels are the image (h, w)."""
    along_y, along_x = (_sharpening(side) for side in image_rad.shape)
    return torch.from_numpy(along_y @ image_rad @ along_x.T)


@cache
def _sharpening(side: int) -> np.ndarray:
    """`_sharpened` along one axis: (upsampling · side, side)."""
    upsampling = forward.UPSAMPLING
    fine = np.arange(upsampling * side) / upsampling
    spline = make_interp_spline(np.arange(side), np.eye(side), k=3)(fine.clip(max=side - 1))
    pixel = np.abs(fine - np.arange(side)[:, None])  # distance from the centre of every object pixel
    mean = (pixel < 0.5) + 0.5 * (pixel == 0.5)  # as `stitching.to_object_pixels` weighs
    mean /= mean.sum(axis=1, keepdims=True)
    return spline @ np.linalg.inv(mean @ spline)
