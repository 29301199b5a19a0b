"""BaSiC: a shading image from many tiles by low-rank and sparse decomposition, after Peng et al.

doi:10.1038/ncomms14836. Light less its dark frame is I = b Sᵀ + R: one flat field S, whose cosine transform is sparse,
times the brightness b of every tile, and a sparse rest R, the specimens. λ ‖DCT S‖₁ + ‖W R‖₁ is minimised by the
alternating direction method of multipliers, with W reweighted by the rest. The dark frame is known, so that it is not
estimated.
"""

import numpy as np
from scipy.fft import dctn, idctn

from workflow_scripts.background.evaluation.tuning import predict_tuned
from workflow_scripts.background.settings import BasicSettings as Options
from workflow_scripts.background.simulation.sessions import DEAD_SHARE, Predictions, tiles_in_name
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.workflow.command import Job

_REWEIGHTINGS, _ITERATIONS = 5, 50
_PENALTY = 10.0  # of the constraint, in units of 1 / (mean light)
_RELATIVE_REST = 0.1  # rest over background at which its weight has halved
_DARKEST = 1e-3  # lower limit of the flat field relative to its mean


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """Log flat fields of successive groups of so many tiles as the estimator's name says, one for each group.

    Raises:
        InputError: the name is not of the form basic_N, or training files are missing or damaged.
    """
    size = tiles_in_name(job.arguments.estimator, "basic")
    options: Options = job.arguments.options

    def estimate(counts: np.ndarray, dark: float, smoothness: float, places: np.ndarray) -> np.ndarray:
        # The last group ends with the last tile
        starts = np.maximum(np.minimum(places // size * size, len(counts) - size), 0)
        flats = {start: log_flat(counts[start : start + size] - dark, smoothness) for start in set(starts.tolist())}
        return np.stack([flats[start] for start in starts.tolist()])

    return predict_tuned(job, tiles, size, options.smoothness, estimate)


def log_flat(light: np.ndarray, smoothness: float) -> np.ndarray:
    """ln of the flat field float32 (H, W) of tiles (N, H, W), up to a constant.

    Args:
        light: counts less dark.
        smoothness: λ, the weight of the flat field's cosine transform (orthonormal) for tiles of mean 1.
    """
    images = light / np.maximum(np.median(light, axis=(1, 2), keepdims=True), 1)  # a blank tile has no light
    images = np.maximum(images, DEAD_SHARE) / images.mean()
    flat, rest, weights = np.ones_like(images[0]), np.zeros_like(images), np.ones_like(images)
    brightness = images.mean(axis=(1, 2), keepdims=True)
    for _ in range(_REWEIGHTINGS):
        multiplier = np.zeros_like(images)
        for _ in range(_ITERATIONS):
            target, power = images - rest + multiplier / _PENALTY, (brightness**2).sum()
            coefficients = dctn((brightness * target).sum(axis=0) / power, norm="ortho")
            flat = np.maximum(idctn(_shrunk(coefficients, smoothness / (_PENALTY * power)), norm="ortho"), _DARKEST)
            flat = flat / flat.mean()
            brightness = (flat * target).sum(axis=(1, 2), keepdims=True) / (flat**2).sum()
            without = images - brightness * flat
            rest = _shrunk(without + multiplier / _PENALTY, weights / _PENALTY)
            multiplier = multiplier + _PENALTY * (without - rest)
        weights = 1 / (abs(rest) / np.maximum(brightness * flat, _DARKEST) + _RELATIVE_REST)
        weights = weights / weights.mean()
    return np.log(flat).astype(np.float32)


def _shrunk(values: np.ndarray, by: np.ndarray | float) -> np.ndarray:
    """Values moved towards zero, and no further: the proximal map of an absolute value."""
    return np.sign(values) * np.maximum(abs(values) - by, 0)
