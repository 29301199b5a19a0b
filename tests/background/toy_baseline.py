"""A baseline as a user would add it: copy it to estimators/toy_baseline.py and list it in estimators.yaml."""

import numpy as np

from workflow_scripts.background.simulation.sessions import Predictions, session_logs
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """The mean of all tiles of a session is its flat field."""
    logs = [session_logs(counts, tiles.dark)[0] for counts in tiles.counts]
    flats = np.stack([np.broadcast_to(session.mean(axis=0), session.shape) for session in logs])
    return {("fitted", condition(tiles=tiles.counts.shape[1])): {"log_flat": flats}}
