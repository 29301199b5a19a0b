"""Standard errors of a stitched image from how much its overlapping patches disagree.

Where m patches lie on a pixel and their residuals have the variance v, their mean has the standard error √(v / m) if
their errors are independent. Those of neighbours are not, for neighbouring probes see the same object: one factor,
measured on a scan that is made for it and whose object is known, brings 68.27 % of the errors within one standard
error. With it the errors are calibrated for objects like that one and for no others, so `coverage_68` is reported.

What the spread cannot see: an error that overlapping patches share, such as a wrong probe, a wrong scan or a wrong
prior of the network; and long periods, which the image gets from the patches' slopes alone, so that small errors
that never contradict each other add up over many patches. Such errors make a coverage too small.
"""

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.stitching import Stitched, residual_variance, to_object_pixels

ONE_SIGMA = 0.6827  # share of a normal distribution within one standard deviation
# Patches' worth of weight: what a single patch says is contradicted by none.
LEAST_PATCHES = 2


def standard_error(stitched: Stitched, patches: Tensor, positions_px: Tensor, weights: Tensor) -> Tensor:
    """The uncalibrated standard error of each object pixel, (h, w) rad, as `Stitched.to_object_pixels` lies.

    The errors of the fine pixels in an object pixel go together, so their variances are averaged, not divided.
    NaN where fewer than `LEAST_PATCHES` lie.

    Args:
        stitched, patches, positions_px, weights: the image by `stitching.least_squares` and what it was made from.

    Raises:
        InputError: the image is of other patches.
    """
    patches_there = stitched.coverage / weights.max()
    variance = residual_variance(stitched, patches, positions_px, weights) / patches_there
    variance = torch.where(patches_there >= LEAST_PATCHES, variance, torch.nan)
    return to_object_pixels(variance, stitched.upsampling).sqrt()


def relative_error(image_rad: np.ndarray, truth_rad: np.ndarray, spread_rad: np.ndarray) -> np.ndarray:
    """|error| / spread of the pixels that have a spread, (K,); the error is mean-free over them.

    Args:
        image_rad, truth_rad, spread_rad: (h, w) rad.
    """
    known = np.isfinite(image_rad) & np.isfinite(spread_rad)
    error = (image_rad - truth_rad).astype(np.float64)[known]
    # A spread of zero beside an error is infinitely wrong.
    return np.abs(error - error.mean()) / np.maximum(spread_rad[known], np.finfo(np.float64).tiny)


def calibration_factor(relative: np.ndarray) -> float:
    """What the spread is multiplied by, so that `ONE_SIGMA` of the errors lie within it.

    Args:
        relative: (K,) of `relative_error`, of a scan made for it.
    """
    return float(np.quantile(relative, ONE_SIGMA))


def covered_share(relative: np.ndarray, factor: float) -> float:
    """Share of the errors (K,) of `relative_error` within `factor` spreads."""
    return float((relative <= factor).mean())
