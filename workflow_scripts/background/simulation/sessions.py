"""The tiles of a session as estimators see them: logarithms, and the neighbours of every tile in order."""

from collections.abc import Mapping

import numpy as np
import torch

from workflow_scripts.background.simulation.counting import log_tiles

# What the function `predict` of an estimator's module returns: by stage (`pretrained`, `finetuned`, or `fitted` of what
# is not trained) and condition the arrays `log_flat`, ln of the flat fields float32 (sessions, tiles, H, W) up to a
# constant of each tile, and where it is known `spread`, their standard deviation.
Answers = dict[tuple[str, str], Mapping[str, np.ndarray]]


def session_logs(counts: np.ndarray, dark: float) -> tuple[np.ndarray, np.ndarray]:
    """ln of the tiles of a session less the median of each, and which pixels are dead: float32 and bool (M, H, W).

    Args:
        counts: (M, H, W).
        dark: mean of the dark frame, counts.
    """
    logs, dead = log_tiles(torch.as_tensor(counts), dark)
    return logs.numpy(), dead.numpy()


def nearest_in_order(tiles: int, size: int) -> np.ndarray:
    """For every tile itself and the nearest in the order of recording, the earlier one of two first: int (tiles, size).

    Args:
        tiles: in the session.
        size: of a set; all tiles where there are fewer.
    """
    place = np.arange(tiles)
    return np.argsort(abs(place[:, None] - place), axis=1, kind="stable")[:, :size]
