"""What a stitching alone transmits: perfect patches of a white-noise object, stitched and compared with it."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.evaluation.comparison import cut_like
from workflow_scripts.diffractive_imaging.networks.stitching import (
    Stitched,
    damped_average,
    least_squares,
    to_object_pixels,
)
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, raster
from workflow_scripts.diffractive_imaging.simulation.objects import refine
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.metrics import radial_transfer, transfer_at_period, transfer_in_band
from workflow_scripts.study.tables import metric_row

# The published experiment's raster and mask (doi:10.1103/PhysRevLett.130.016101, data of its release).
PUBLISHED_STEP_PX = 0.86995916
PUBLISHED_MASK_PX = 12  # fine pixels a side
BANDS_PX = ((4, 6), (10, 15), (25, 50))
LONG_PERIOD_PX = 100
_MARGIN_PX = 6  # a patch reaches 4 px beyond its position, and interpolation a little further
_BATCH = 1024


class PerfectScan(NamedTuple):
    """An object and the patches that a perfect network would predict.

    object_rad: (H, W) on the fine grid, pixel [0, 0] at object pixel (0, 0).
    positions_px: (N, 2) [y, x] in object pixels.
    patches_rad: float32 (N, n, n), cut at the exact positions, which a stitching may round.
    """

    object_rad: Tensor
    positions_px: Tensor
    patches_rad: Tensor


def white_noise_scan(points: int, step_px: float, jitter_px: float, n: int, seed: int) -> PerfectScan:
    """A raster of `points` × `points` over an object of white noise on object pixels; patches of n × n fine pixels."""
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


def transfer_by_period(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """T by the name of its metric; NaN for periods longer than the images."""
    by_metric = {f"transfer_period_{low}_{high}px": transfer_in_band(image, truth, low, high) for low, high in BANDS_PX}
    return by_metric | {f"transfer_period_{LONG_PERIOD_PX}px": transfer_at_period(image, truth, LONG_PERIOD_PX)}


def transfer_of_stitchings(light: Illumination, settings: Evaluate) -> tuple[list[dict], pd.DataFrame]:
    """What both stitchings transmit, in the geometry of our scans and in that of the published experiment.

    Returns:
        rows of metrics.csv, T in bands of the period; T of every ring: period_px, transfer, estimator (published for
        the damped average, corrected for least squares), scan (default or published).
    """
    rows, tables = [], []
    for scan, (step, jitter, mask, weights) in _geometries(light, settings).items():
        perfect = white_noise_scan(settings.transfer_points, step, jitter, light.n, settings.seed)
        patches, positions = perfect.patches_rad, perfect.positions_px
        generator = torch.Generator().manual_seed(settings.seed)
        images = {
            "published": damped_average(patches, positions, mask, generator=generator),
            "corrected": least_squares(patches, positions, weights * mask),
        }
        labels = {} if scan == "default" else {"scan": scan}
        where = condition(object="white_noise", patches="perfect", **labels)
        for estimator, stitched in images.items():
            image, truth = beside_truth(stitched, perfect.object_rad)
            rings = radial_transfer(image, truth)[["period_px", "transfer"]]
            tables.append(rings.assign(estimator=estimator, scan=scan))
            rows += [
                metric_row(estimator, metric, "1", value, condition=where)
                for metric, value in transfer_by_period(image, truth).items()
                if np.isfinite(value)  # a small scan holds no period of 100 px
            ]
    return rows, pd.concat(tables)


def _geometries(light: Illumination, settings: Evaluate) -> dict[str, tuple[float, float, Tensor, Tensor]]:
    """Step and jitter of the raster in object pixels, mask (n, n) and weights (n, n) of a patch, by name."""
    n = light.n
    published_mask = torch.zeros(n, n, dtype=torch.bool)
    side = slice(n // 2 - PUBLISHED_MASK_PX // 2, n // 2 + PUBLISHED_MASK_PX // 2)
    published_mask[side, side] = True
    mask, illumination = forward.patch_mask(light.probe), forward.patch_illumination(light.probe)
    return {
        "default": (settings.transfer_step_px, settings.transfer_jitter_px, mask, illumination),
        "published": (PUBLISHED_STEP_PX, 0.0, published_mask, torch.ones(n, n, dtype=torch.float64)),
    }
