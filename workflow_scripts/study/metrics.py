"""Metrics that carry their gauge in their name; transfer and ring correlation are in transfer.py."""

import numpy as np

from workflow_scripts.workflow.errors import InputError


def patch_misfit(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Σ (predicted − true)² and Σ true² of each patch, (N, 2), every patch mean-free.

    predicted, true: (N, K) rad, the K pixels of each patch that lie in the mask.
    """
    if predicted.shape != true.shape or predicted.ndim != 2:
        raise InputError(f"Predicted and true patches are {predicted.shape} and {true.shape}; expected (N, K) both.")
    predicted, true = (pixels.astype(np.float64) for pixels in (predicted, true))
    predicted, true = (pixels - pixels.mean(1, keepdims=True) for pixels in (predicted, true))
    return np.stack([((predicted - true) ** 2).sum(1), (true**2).sum(1)], axis=1)


def patch_r2(misfit: np.ndarray) -> float:
    """1 − Σ (predicted − true)² / Σ true², pooled over the rows of `patch_misfit`: zeros give 0."""
    error, power = misfit.sum(0)
    if not power > 0:
        raise InputError("The true patches have no contrast, so R² means nothing; use other test objects.")
    return float(1 - error / power)


def phase_rmse_rad_meanfree(image: np.ndarray, truth: np.ndarray) -> float:
    """RMS of image − truth (H, W) less its mean, rad, over what both cover (not NaN)."""
    if image.shape != truth.shape:
        raise InputError(f"Image and truth are {image.shape} and {truth.shape}; expected one shape (H, W).")
    difference = (image - truth).astype(np.float64)
    difference = difference[np.isfinite(difference)]
    if difference.size == 0:
        raise InputError("Image and truth share no covered pixel; compare what was measured.")
    return float(difference.std())


def root_mean_square(values: np.ndarray) -> float:
    """√⟨x²⟩ of values (N,): how RMS errors of several images of one size are pooled."""
    return float(np.sqrt(np.mean(np.square(values))))
