"""Pixelwise median of a few tiles: `median_4` uses each tile and the three nearest in recording order."""

import numpy as np

from workflow_scripts.background.simulation.sessions import Predictions, nearest_in_order, session_logs, tiles_in_name
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """Log flat fields by the median of so many tiles as the estimator's name says, such as `median_4`.

    Raises:
        InputError: the name is not of the form median_N.
    """
    size = tiles_in_name(job.arguments.estimator, "median")
    flats = [flats_of_sets(session_logs(counts, tiles.dark)[0], size) for counts in tiles.counts]
    return {("fitted", condition(tiles=size)): {"log_flat": np.stack(flats)}}


def flats_of_sets(log_tiles: np.ndarray, size: int) -> np.ndarray:
    """Pixelwise median of the set of each tile and its nearest in order: log tiles (M, H, W) → float32 (M, H, W).

    Args:
        log_tiles: ln of the tiles of one session.
        size: tiles in a set, at most M.
    """
    tiles = np.asarray(log_tiles, dtype=np.float32)
    if size >= len(tiles):
        return np.repeat(np.median(tiles, axis=0, keepdims=True), len(tiles), axis=0)
    return np.stack([np.median(tiles[rows], axis=0) for rows in nearest_in_order(len(tiles), size)])
