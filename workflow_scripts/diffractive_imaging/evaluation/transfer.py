"""What a stitching alone transmits: perfect patches of a white-noise object, stitched and compared with it."""

from collections.abc import Iterator
from dataclasses import dataclass
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


def transfer_by_period(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """T by the name of its metric; NaN for periods that the images do not hold."""
    by_metric = {f"transfer_period_{low}_{high}px": transfer_in_band(image, truth, low, high) for low, high in BANDS_PX}
    return by_metric | {f"transfer_period_{LONG_PERIOD_PX}px": transfer_at_period(image, truth, LONG_PERIOD_PX)}


@dataclass(frozen=True)
class Transfer:
    """Perfect patches of a white-noise object, stitched.

    estimator: published (damped average) or corrected (least squares).
    scan: "published" for the geometry of the published experiment; None for that of our scans and probe.
    image_rad, truth_rad: (H, W) in object pixels, NaN where no patch lies.
    """

    estimator: str
    scan: str | None
    image_rad: np.ndarray
    truth_rad: np.ndarray

    def table(self) -> pd.DataFrame:
        """T(k) of every ring: estimator, scan, period_px, transfer."""
        rings = radial_transfer(self.image_rad, self.truth_rad)[["period_px", "transfer"]]
        return rings.assign(estimator=self.estimator, scan=self.scan or "default")


def stitch_perfect_patches(light: Illumination, settings: Evaluate) -> Iterator[Transfer]:
    """Both stitchings of perfect patches, in the geometry of our scans and in that of the published experiment."""
    n = light.n
    lit = torch.zeros(n, n, dtype=torch.bool)
    side = slice(n // 2 - PUBLISHED_MASK_PX // 2, n // 2 + PUBLISHED_MASK_PX // 2)
    lit[side, side] = True
    probe_mask = forward.patch_mask(light.probe)
    illumination = forward.patch_illumination(light.probe)
    geometries = {
        None: (settings.transfer_step_px, settings.transfer_jitter_px, probe_mask, illumination),
        "published": (PUBLISHED_STEP_PX, 0.0, lit, torch.ones(n, n, dtype=torch.float64)),
    }
    for scan, (step, jitter, mask, weights) in geometries.items():
        perfect = white_noise_scan(settings.transfer_points, step, jitter, n, settings.seed)
        scanned = perfect.patches_rad, perfect.positions_px
        generator = torch.Generator().manual_seed(settings.seed)
        for estimator, stitched in (
            ("published", damped_average(*scanned, mask, generator=generator)),
            ("corrected", least_squares(*scanned, weights * mask)),
        ):
            yield Transfer(estimator, scan, *beside_truth(stitched, perfect.object_rad))


def transfer_rows(transfer: Transfer) -> list[dict]:
    """T in bands of the period."""
    where = condition(object="white_noise", patches="perfect", **({"scan": transfer.scan} if transfer.scan else {}))
    return [
        metric_row(transfer.estimator, metric, "1", value, condition=where)
        for metric, value in transfer_by_period(transfer.image_rad, transfer.truth_rad).items()
        if np.isfinite(value)  # a small scan holds no period of 100 px
    ]
