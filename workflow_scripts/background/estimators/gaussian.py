"""Gaussian pseudo-flat: the blurred logarithm of each tile."""

import numpy as np
from scipy.ndimage import gaussian_filter

from workflow_scripts.background.simulation.sessions import Predictions, session_logs
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job

SIGMA_SHARE = 0.08  # σ over the side of a tile; on training sessions anything from 0.04 to 0.2 is about as good


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """Log flat fields, each from its own tile alone."""
    flats = [gaussian_flats(session_logs(counts, tiles.dark)[0]) for counts in tiles.counts]
    return {("fitted", condition(tiles=1)): {"log_flat": np.stack(flats)}}


def gaussian_flats(log_tiles: np.ndarray, sigma_px: float | None = None) -> np.ndarray:
    """Log tiles (N, H, W), each blurred by a Gaussian that is normalised to the pixels of the tile; float32 (N, H, W).

    Args:
        log_tiles: ln of the tiles.
        sigma_px: standard deviation of the Gaussian, pixels; None for `SIGMA_SHARE` of the longer side.
    """
    sigma_px = SIGMA_SHARE * max(log_tiles.shape[1:]) if sigma_px is None else sigma_px
    sigma = (0, sigma_px, sigma_px)
    weight = gaussian_filter(np.ones((1, *log_tiles.shape[1:])), sigma, mode="constant")
    return (gaussian_filter(log_tiles, sigma, mode="constant") / weight).astype(np.float32)
