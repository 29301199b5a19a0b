"""The arrays of the figure, examples.npz: example images, and errors against the estimated uncertainty."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.background.evaluation.metrics import centred_error, true_tile
from workflow_scripts.background.evaluation.scores import Prediction, predictions_of
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.metrics import root_mean_square

# The example of a session is the tile at this quantile of the contrast in optical density: visible but not extreme
CONTRAST_QUANTILE = 0.75
SHOWN_SESSIONS = 3
SPREAD_BINS = 10
# Counts below which a logarithm carries no information
_FEWEST_COUNTS = 0.5


def example_images(tiles: RawTiles, paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """One tile each of the first, the middle and the last session, by the headline prediction of every estimator.

    Args:
        tiles: the test tiles.
        paths: files of predictions; the first of each estimator is shown.

    Returns:
        estimators (E,) and names (X,).
        raw (X, H, W): counts less dark, over their median.
        truth (X, H, W), estimated (E, X, H, W): optical density, the estimate less its mean difference from the truth;
            NaN without light.
        errors (E, X, H, W): of the log flat field, less their mean.
        spread (X, H, W): of the estimator corrected, or zeros.
        spread_bins, error_bins (B,): mean spread and RMS error of B equal groups of lit pixels, sorted by the spread of
            corrected; B is 0 without an uncertainty.
    """
    sessions = np.unique(np.linspace(0, len(tiles.counts) - 1, SHOWN_SESSIONS).round().astype(int)).tolist()
    places = [(session, _shown_tile(tiles.log_transmission[session])) for session in sessions]
    truths = [true_tile(tiles, *place) for place in places]
    shape = (len(places), *tiles.counts.shape[2:])
    light = np.stack([tiles.counts[place] - tiles.dark for place in places])
    level = np.median(light, axis=(1, 2), keepdims=True)
    raw = light / level
    errors, spread, bins = {}, np.zeros(shape), np.zeros((2, 0))
    for path in paths:
        for prediction in predictions_of(path, tiles):
            if not prediction.is_headline or prediction.estimator in errors:
                continue
            errors[prediction.estimator] = np.stack(
                [centred_error(prediction.log_flat[place], truth) for place, truth in zip(places, truths, strict=True)]
            )
            if prediction.estimator == "corrected" and prediction.spread is not None:
                spread = np.stack([prediction.spread[place] for place in places])
                bins = spread_and_error(prediction, tiles)
    density = np.stack([truth.optical_density for truth in truths])
    is_lit = np.stack([truth.lit for truth in truths])
    # The photon noise is in the tile, not in its background, so the corrected tile keeps it
    noise = (
        np.log(np.maximum(raw, _FEWEST_COUNTS / level))
        + density
        - np.stack([tiles.log_flat[place] for place in places])
    )
    noise -= np.array([noise[k][is_lit[k]].mean() for k in range(len(places))])[:, None, None]
    all_errors = np.array(list(errors.values()))
    return {
        "estimators": np.array(list(errors)),
        "names": np.array([f"session {session + 1}, tile {tile + 1}" for session, tile in places]),
        "raw": raw.astype(np.float32),
        "truth": density.astype(np.float32),
        "estimated": np.where(is_lit, density + all_errors - noise, np.nan).astype(np.float32),
        "errors": np.where(is_lit, all_errors, np.nan).astype(np.float32),
        "spread": np.where(is_lit, spread, np.nan).astype(np.float32),
        "spread_bins": bins[0],
        "error_bins": bins[1],
    }


def spread_and_error(prediction: Prediction, tiles: RawTiles) -> np.ndarray:
    """Mean spread and RMS error up to a constant (2, B) of all lit pixels, sorted by spread into B equal groups."""
    spreads, errors = [], []
    for place in np.ndindex(tiles.counts.shape[:2]):
        truth = true_tile(tiles, *place)
        spreads.append(prediction.spread[place][truth.lit])
        errors.append(centred_error(prediction.log_flat[place], truth)[truth.lit])
    spread, error = np.concatenate(spreads), np.concatenate(errors)
    parts = np.array_split(np.argsort(spread, kind="stable"), SPREAD_BINS)
    return np.array([[spread[part].mean() for part in parts], [root_mean_square(error[part]) for part in parts]])


def _shown_tile(log_transmission: np.ndarray) -> int:
    contrast = log_transmission.std(axis=(1, 2))
    return int(np.argsort(contrast, kind="stable")[round(CONTRAST_QUANTILE * (len(contrast) - 1))])
