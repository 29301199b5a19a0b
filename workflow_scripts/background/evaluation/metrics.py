"""Metrics of one tile: error of its log flat field, and the resulting error of its optical density.

The error is b̂ − b, with the true log flat field b of the same tile. The optical density is b̂ − ln(tile), so it has the
same error. Photon noise of the tile is excluded, since no background correction removes it. Only lit pixels count.
A new metric belongs into `METRICS` and the dictionary of `compare`.

| name | unit | meaning |
|---|---|---|
| od_rmse_up_to_constant | 1 | root mean square of the error less its mean: optical density up to a constant |
| od_rmse_absolute | 1 | of the optical density less its mean in the tile's open-beam region; only tiles that have one |
| ssim_fixed_range | 1 | structural similarity of the optical density, up to a constant, to the true one, range 2 |
| ghosting_correlation | 1 | correlation of the error with the tile's optical density; only tiles with a specimen |
| ghosting_slope | 1 | slope of the error against that density: −0.5 if half of the specimen is in the background |
| spread_coverage | 1 | fraction of pixels whose error, less its mean, is no larger than one spread |

A correct spread covers 0.68; estimated from 8 samples around their mean, even a perfect one covers 0.62 (Student's t).
SSIM: Wang et al., doi:10.1109/TIP.2003.819861, Gaussian windows of 1.5 px, constants for the range `OD_RANGE`.
"""

from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity

from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.metrics import root_mean_square

OD_RANGE = 2.0
# Pixels with less light than this, as a fraction of the median of the tile's flat field, cannot be corrected
LIT_SHARE = 0.05
# Tiles whose optical density has a smaller standard deviation count as tiles without a specimen
SPECIMEN_STD = 0.01
ERROR = "od_rmse_up_to_constant"
GHOSTING = ("ghosting_correlation", "ghosting_slope")
METRICS = (ERROR, "od_rmse_absolute", "ssim_fixed_range", *GHOSTING, "spread_coverage")
# Rounding error of a log flat field in float32
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TrueTile:
    """Ground truth of a tile.

    optical_density, log_flat: (H, W).
    lit: bool (H, W), pixels with enough light.
    open_beam: region without a specimen [top, left, bottom, right], px, or None.
    """

    optical_density: np.ndarray
    log_flat: np.ndarray
    lit: np.ndarray
    open_beam: tuple[int, int, int, int] | None


def true_tile(tiles: RawTiles, session: int, tile: int) -> TrueTile:
    """The ground truth of one test tile."""
    at = session, tile
    density, log_flat = -tiles.log_transmission[at].astype(np.float64), tiles.log_flat[at]
    region = tuple(tiles.open_beam[at].tolist())
    return TrueTile(density, log_flat.astype(np.float64), lit(log_flat), region if any(region) else None)


def lit(log_flat: np.ndarray) -> np.ndarray:
    """Which pixels have at least `LIT_SHARE` of the median light, bool (..., H, W)."""
    return log_flat >= np.median(log_flat, axis=(-2, -1), keepdims=True) + np.log(LIT_SHARE)


def centred_error(log_flat: np.ndarray, truth: TrueTile) -> np.ndarray:
    """Error (H, W) of an estimate less its mean over lit pixels; zero elsewhere."""
    error = log_flat.astype(np.float64) - truth.log_flat
    return np.where(truth.lit, error - error[truth.lit].mean(), 0.0)


def compare(log_flat: np.ndarray, spread: np.ndarray | None, truth: TrueTile) -> dict[str, float]:
    """All metrics of an estimate (H, W) and its spread (H, W), if it has one; NaN for metrics that do not apply."""
    error = centred_error(log_flat, truth)
    return {
        ERROR: root_mean_square(error[truth.lit]),
        "od_rmse_absolute": od_rmse_absolute(error, truth),
        "ssim_fixed_range": ssim_fixed_range(error, truth),
        **ghosting(error, truth),
        "spread_coverage": np.nan if spread is None else float((abs(error) <= spread)[truth.lit].mean()),
    }


def od_rmse_absolute(error: np.ndarray, truth: TrueTile) -> float:
    """RMS error over lit pixels of the optical density less its mean in the open-beam region.

    NaN without a region, or if no pixel of it is lit. error: (H, W), up to a constant.
    """
    if truth.open_beam is None:
        return np.nan
    top, left, bottom, right = truth.open_beam
    region = np.zeros_like(truth.lit)
    region[top:bottom, left:right] = True
    region &= truth.lit
    if not region.any():
        return np.nan
    return root_mean_square((error - (truth.optical_density + error)[region].mean())[truth.lit])


def ssim_fixed_range(error: np.ndarray, truth: TrueTile) -> float:
    """Mean structural similarity over lit pixels. error: (H, W), mean 0 over them."""
    _, similar = structural_similarity(
        truth.optical_density,
        truth.optical_density + error,
        data_range=OD_RANGE,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(similar[truth.lit].mean())


def ghosting(error: np.ndarray, truth: TrueTile) -> dict[str, float]:
    """Specimen in the background: correlation and slope of the error (H, W) against the tile's optical density.

    NaN without a specimen, 0 without an error.
    """
    density = truth.optical_density[truth.lit]
    density = density - density.mean()
    if root_mean_square(density) < SPECIMEN_STD:
        return dict.fromkeys(GHOSTING, np.nan)
    error = error[truth.lit] - error[truth.lit].mean()
    covariance, size = float(np.mean(error * density)), root_mean_square(error)
    correlation = covariance / (size * root_mean_square(density)) if size > _ROUNDING else 0.0
    return dict(zip(GHOSTING, (correlation, covariance / root_mean_square(density) ** 2), strict=True))
