"""Noise-weighted mean of a few tiles with the specimen gated out: `gated_4` uses each tile and the three nearest.

The residual of a tile against the current flat field, smoothed by a Gaussian and divided by its own noise, decides how
far a pixel counts: dark residuals are specimen, bright ones a flat field that the specimens of other tiles darken.
With at least `FEWEST_FOR_DRIFT` tiles the flat field also changes evenly in time, along the fields that a small shift
and a change of shading produce. The gate is chosen on sessions composed from training files.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter

from workflow_scripts.background.evaluation.tuning import predict_tuned
from workflow_scripts.background.settings import GateSettings as Options
from workflow_scripts.background.simulation.sessions import (
    DEAD_SHARE,
    Predictions,
    nearest_in_order,
    session_logs,
    tiles_in_name,
)
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.workflow.command import Job

FEWEST_FOR_DRIFT = 4
_ITERATIONS = 4
_DARKER = 4.0  # standard deviations below the flat field at which a pixel counts half
_SMALLEST_NOISE = 0.004  # of a smoothed residual: drift and shading are not known better
_SMALLEST_WEIGHT = 1e-4  # so that a pixel covered in every tile has an estimate
_RIDGE = 1e-3  # of the drift, in units of the mean information about a field
_MODE_PIXELS = 40


@dataclass(frozen=True)
class Gate:
    """How a pixel's smoothed residual, in standard deviations, becomes its weight.

    Attributes:
        smoothing_px: standard deviation of the Gaussian that smooths residuals.
        brighter: residual above the flat field at which a pixel counts half.
        softness: standard deviations over which the weight falls from 0.5 to 0.27.
    """

    smoothing_px: float
    brighter: float
    softness: float

    def weight(self, significance: np.ndarray) -> np.ndarray:
        """Weights in (0, 1) of residuals in standard deviations, any shape."""
        dark, bright = (-significance - _DARKER, significance - self.brighter)
        exponents = (np.exp(np.clip(side / self.softness, -30, 30)) for side in (dark, bright))
        return 1 / (1 + sum(exponents)) + _SMALLEST_WEIGHT


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """Log flat fields from the number of tiles in the estimator's name.

    Raises:
        InputError: the name is not of the form gated_N, or training files are missing or damaged.
    """
    size = tiles_in_name(job.arguments.estimator, "gated")
    options: Options = job.arguments.options
    gates = [Gate(*values) for values in product(options.smoothing_px, options.brighter, options.softness)]

    def estimate(counts: np.ndarray, dark: float, gate: Gate, places: np.ndarray) -> np.ndarray:
        return gated_flats(*logs_and_variances(counts, dark), size, gate, places)

    return predict_tuned(job, tiles, size, gates, estimate)


def logs_and_variances(counts: np.ndarray, dark: float) -> tuple[np.ndarray, np.ndarray]:
    """ln of tiles (M, H, W), and their variance by photon noise: counts / (counts − dark)²."""
    light = counts - dark
    smallest = np.maximum(DEAD_SHARE * np.median(light, axis=(1, 2), keepdims=True), 1)
    return session_logs(counts, dark)[0], np.maximum(counts, 1) / np.maximum(light, smallest) ** 2


def gated_flats(logs: np.ndarray, variances: np.ndarray, size: int, gate: Gate, places: np.ndarray) -> np.ndarray:
    """Log flat fields float32 (K, H, W) of the tiles at `places`, each from its set of `size` tiles.

    Args:
        logs: ln of the tiles of one session in order, (M, H, W).
        variances: of their noise, (M, H, W).
        size: tiles in a set.
        gate: how pixels count.
        places: numbers (K,) of tiles.
    """
    number = len(logs)
    if size >= number:
        return flats_of_set(logs, variances, np.arange(number) / number, gate)[places]
    sets = nearest_in_order(number, size)[places]
    flats = [flats_of_set(logs[rows], variances[rows], (rows - rows[0]) / number, gate)[0] for rows in sets]
    return np.stack(flats)


def flats_of_set(logs: np.ndarray, variances: np.ndarray, times: np.ndarray, gate: Gate) -> np.ndarray:
    """Log flat fields float32 (N, H, W) of the tiles of one set (N, H, W) at times (N,)."""
    blur = (0, gate.smoothing_px, gate.smoothing_px)
    # White noise averaged by a Gaussian of σ px keeps 1 / (4 π σ²) of its variance
    noise = np.sqrt(gaussian_filter(variances, blur) / (4 * np.pi * gate.smoothing_px**2))
    noise = np.maximum(noise, _SMALLEST_NOISE)
    drift, times = np.zeros_like(logs), (times - times.mean())[:, None, None]
    flat = np.median(logs - _modes(gaussian_filter(logs - logs[0], blur)), axis=0)
    for _ in range(_ITERATIONS):
        residual = gaussian_filter(logs - flat - drift, blur)
        offsets = _modes(residual)
        weights = gate.weight((residual - offsets) / noise) / variances
        levelled = logs - offsets
        if len(logs) >= FEWEST_FOR_DRIFT:
            drift = times * drift_rate(levelled, weights, times, flat)
        flat = (weights * (levelled - drift)).sum(axis=0) / weights.sum(axis=0)
    return (flat + drift).astype(np.float32)


def drift_rate(logs: np.ndarray, weights: np.ndarray, times: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Change of the log flat field (H, W) per unit of time, by weighted least squares over a few fields.

    The fields are the gradients of the smoothed flat field (a shift) and the polynomials of second order (shading).

    Args:
        logs: ln of the tiles less their constants, (N, H, W).
        weights: of their pixels, (N, H, W).
        times: (N, 1, 1).
        flat: current log flat field (H, W).
    """
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in flat.shape), indexing="ij")
    fields = np.stack([*np.gradient(gaussian_filter(flat, 1.0)), y, x, y * y, x * x, x * y])
    fields -= fields.mean(axis=(1, 2), keepdims=True)
    fields /= np.maximum(fields.std(axis=(1, 2), keepdims=True), 1e-12)
    total = weights.sum(axis=0)
    # Each pixel has a level of its own, which the means over the tiles remove
    late, high = (values - (weights * values).sum(axis=0) / total for values in (times, logs))
    information, slope = (weights * late**2).sum(axis=0).ravel(), (weights * late * high).sum(axis=0).ravel()
    flattened = fields.reshape(len(fields), -1)
    normal = (flattened * information) @ flattened.T
    normal += _RIDGE * np.trace(normal) / len(fields) * np.eye(len(fields))
    return np.tensordot(np.linalg.solve(normal, flattened @ slope), fields, axes=1)


def half_sample_mode(values: np.ndarray) -> float:
    """Where values of any shape are densest: the half sample of least extent, repeatedly.

    Robertson and Cryer, doi:10.1080/01621459.1974.10480194. Unlike the median, it ignores a specimen that covers more
    than half of the tile.
    """
    ordered = np.sort(values, axis=None)
    while len(ordered) > _MODE_PIXELS:
        half = len(ordered) // 2
        first = np.argmin(ordered[half:] - ordered[:-half])
        ordered = ordered[first : first + half]
    return float(ordered.mean())


def _modes(images: np.ndarray) -> np.ndarray:
    return np.array([half_sample_mode(image) for image in images])[:, None, None]
