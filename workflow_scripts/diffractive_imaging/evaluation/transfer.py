"""What a stitching alone transmits: perfect patches of a white-noise object, stitched and compared with it."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.stitching import Stitched, to_object_pixels
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import raster
from workflow_scripts.diffractive_imaging.simulation.objects import refine
from workflow_scripts.study.transfer import transfer_at_period, transfer_in_band

BANDS_PX = ((4, 6), (10, 15), (25, 50))
LONG_PERIOD_PX = 100
_MARGIN_PX = 6  # a patch reaches 4 px beyond its position, and interpolation a little further
_BATCH = 1024


class PerfectScan(NamedTuple):
    """An object and what a perfect network would say of it.

    object_rad: (H, W) on the fine grid, pixel [0, 0] at object pixel (0, 0).
    positions_px: (N, 2) [y, x] in object pixels.
    patches_rad: float32 (N, n, n), cut at the exact positions, which a stitching may round.
    """

    object_rad: Tensor
    positions_px: Tensor
    patches_rad: Tensor


def white_noise_scan(points: int, step_px: float, jitter_px: float, n: int, seed: int) -> PerfectScan:
    """A raster of `points` × `points` over an object of white noise on object pixels, n fine pixels a patch."""
    rng = np.random.default_rng(seed)
    positions, side = raster(points, step_px, jitter_px, _MARGIN_PX, rng)
    fine = torch.from_numpy(refine(rng.standard_normal((side, side)), forward.UPSAMPLING))
    patches = torch.cat([forward.window_at(fine, part, n, 1) for part in positions.split(_BATCH)])
    return PerfectScan(fine, positions, patches)


def beside_truth(stitched: Stitched, object_rad: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Image and truth (h, w) in object pixels, both NaN where no patch lies."""
    image = stitched.to_object_pixels().cpu().numpy()
    truth = to_object_pixels(object_rad, forward.UPSAMPLING).numpy()
    return image, cut_like(truth, image, stitched.origin)


def cut_like(truth: np.ndarray, image: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    """The part of a true image (H, W) that an image (h, w) with this origin shows, NaN where it shows nothing."""
    rows, columns = (slice(start, start + side) for start, side in zip(origin, image.shape, strict=True))
    return np.where(np.isfinite(image), truth[rows, columns], np.nan)


def transfer_by_period(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """T by the name of its metric; NaN for periods that the images do not hold."""
    by_metric = {f"transfer_period_{low}_{high}px": transfer_in_band(image, truth, low, high) for low, high in BANDS_PX}
    return by_metric | {f"transfer_period_{LONG_PERIOD_PX}px": transfer_at_period(image, truth, LONG_PERIOD_PX)}
