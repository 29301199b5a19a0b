"""Pseudo-flats: the logarithm of every tile, blurred."""

import numpy as np
from scipy.ndimage import gaussian_filter

from workflow_scripts.background.simulation.sessions import Predictions, session_logs
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job

SIGMA_SHARE = 0.08  # of the blur, sides of a tile; between 0.04 and 0.2 it hardly matters in training


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """The blur of every tile alone."""
    flats = [gaussian_flats(session_logs(counts, tiles.dark)[0]) for counts in tiles.counts]
    return {("fitted", condition(tiles=1)): {"log_flat": np.stack(flats)}}


def gaussian_flats(log_tiles: np.ndarray, sigma_px: float | None = None) -> np.ndarray:
    """Every log tile (N, H, W) blurred by a Gaussian; pixels beyond its rim have no weight: float32 (N, H, W).

    Args:
        sigma_px: standard deviation of the Gaussian, pixels; None for `SIGMA_SHARE` of the longer side.
    """
    sigma_px = SIGMA_SHARE * max(log_tiles.shape[1:]) if sigma_px is None else sigma_px
    sigma = (0, sigma_px, sigma_px)
    weight = gaussian_filter(np.ones((1, *log_tiles.shape[1:])), sigma, mode="constant")
    return (gaussian_filter(log_tiles, sigma, mode="constant") / weight).astype(np.float32)
