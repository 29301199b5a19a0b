"""Choice of a classical estimator's settings on sessions composed from training files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from workflow_scripts.background.evaluation.metrics import lit
from workflow_scripts.background.settings import TuningSettings
from workflow_scripts.background.simulation.composing import DeviceTiles, training_session
from workflow_scripts.background.simulation.sessions import Predictions
from workflow_scripts.background.simulation.tile_files import RawTiles, read_training_tiles
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError

_PLACES = 2  # tiles of a session whose error counts

Candidate = TypeVar("Candidate")
# (counts (M, H, W), dark, candidate, numbers of tiles (K,)) → log flat fields (K, H, W)
Estimate = Callable[[np.ndarray, float, Candidate, np.ndarray], np.ndarray]


def predict_tuned(
    job: Job, tiles: RawTiles, size: int, candidates: Sequence[Candidate], estimate: Estimate
) -> Predictions:
    """The log flat fields of all tiles from `size` tiles each, with the candidate that is best on training sessions.

    Raises:
        InputError: training files are missing, or as in `best_on_training_sessions`.
    """
    job.require("shards")
    n_tiles = tiles.counts.shape[1]
    best = best_on_training_sessions(candidates, estimate, job.inputs["shards"], n_tiles, job.arguments.options)
    flats = [estimate(counts, tiles.dark, best, np.arange(n_tiles)) for counts in tiles.counts]
    return {("fitted", condition(tiles=size)): {"log_flat": np.stack(flats)}}


def best_on_training_sessions(
    candidates: Sequence[Candidate], estimate: Estimate, shards: Sequence[Path], tiles: int, tuning: TuningSettings
) -> Candidate:
    """The candidate with the smallest error up to a constant, mean over sessions of microscopes that are not tested.

    Args:
        candidates: values to choose from; the first of equals wins.
        estimate: the estimator.
        shards: training files.
        tiles: tiles of a session, M.
        tuning: number of sessions, and the seed.

    Raises:
        InputError: a training file is damaged, or holds sessions of tested microscopes alone.
    """
    training = read_training_tiles(shards)
    free = np.flatnonzero(~training.held_out)
    if not len(free):
        raise InputError("the training files hold no session of a microscope that is not tested; synthesize again")
    source, generator = DeviceTiles.of(training, torch.device("cpu")), torch.Generator().manual_seed(tuning.seed)
    sessions = [training_session(source, number, tiles, generator) for number in free[: tuning.sessions]]
    places = np.linspace(0, tiles - 1, 2 * _PLACES + 1).round().astype(int)[1::2]

    def error(candidate: Candidate) -> float:
        errors = []
        for counts, truth in sessions:
            difference = estimate(counts, training.dark, candidate, places) - truth[places]
            errors += [image[seen].std() for image, seen in zip(difference, lit(truth[places]), strict=True)]
        return float(np.mean(errors))

    best = min(candidates, key=error)
    print(f"of {len(candidates)} settings the best on {len(sessions)} training sessions: {best}")
    return best
