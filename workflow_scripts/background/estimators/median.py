"""Median or maximum of a few tiles, pixel by pixel: `median_4` takes each tile and the three nearest in order."""

import numpy as np

from workflow_scripts.background.simulation.sessions import Predictions, nearest_in_order, session_logs
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError

# Specimens darken, so of few tiles the brightest is nearer to the flat field than their median; its noise adds up.
STATISTICS = {"median": np.median, "maximum": np.max}


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """The flat fields by the statistic and the number of tiles that the estimator's name holds.

    Raises:
        InputError: the name is not of the form median_N or maximum_N.
    """
    name = job.arguments.estimator
    statistic, _, digits = name.partition("_")
    if statistic not in STATISTICS or not (digits.isdecimal() and int(digits) > 0):
        raise InputError(f"--estimator is {name}, but the module median serves median_N and maximum_N alone")
    size = int(digits)
    flats = [flats_of_sets(session_logs(counts, tiles.dark)[0], size, statistic) for counts in tiles.counts]
    return {("fitted", condition(tiles=size)): {"log_flat": np.stack(flats)}}


def flats_of_sets(log_tiles: np.ndarray, size: int, statistic: str = "median") -> np.ndarray:
    """A statistic of each tile and its nearest in order, `size` in all: log tiles (M, H, W) → float32 (M, H, W).

    Args:
        size: of a set; all tiles where there are fewer.
        statistic: `median` or `maximum`.
    """
    of_set, tiles = STATISTICS[statistic], np.asarray(log_tiles, dtype=np.float32)
    if size >= len(tiles):
        return np.repeat(of_set(tiles, axis=0, keepdims=True), len(tiles), axis=0)
    return np.stack([of_set(tiles[rows], axis=0) for rows in nearest_in_order(len(tiles), size)])
