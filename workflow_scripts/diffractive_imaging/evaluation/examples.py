"""The images that the figures show: example patches, and the scans by every estimator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.diffractive_imaging.evaluation.comparison import Images, Prediction, Truth
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import CALIBRATION
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays

_EXAMPLES = 4  # patterns that the figure shows


def example_images(path: Path, truth: Truth, predictions: Sequence[Prediction]) -> dict[str, np.ndarray]:
    """The images of the figures, by the first seed of every estimator.

    Args:
        path: the test file, for its counts.

    Returns:
        patch_estimators (F,), those of the E that predict patches; estimators (E,); scans (C,); counts (X, n, n) of X
        objects of the headline; true_patches_rad (X, h, w) and patches_rad (F, X, h, w) mean-free on the box of the
        mask, NaN outside; for each scan at full dose true.<scan>_rad (H, W) and <scan>_rad (E, H, W) in object pixels,
        mean-free, NaN where no patch lies; pixel_size_a.

    Raises:
        InputError: an estimator predicted nothing at full dose.
    """
    first_seeds = _first_of_each_estimator(predictions)
    with_patches = [prediction for prediction in first_seeds if prediction.patches_rad]
    nearest = int(np.argmin(np.abs(np.array(truth.phase_std_rad) - truth.scan_phase_std_rad)))
    dose = int(np.argmax(truth.dose_e))
    where = condition(dose_e=truth.dose_e[dose], phase_std_rad=truth.phase_std_rad[nearest])
    true = truth.patches_rad[nearest, :_EXAMPLES]
    true = true - true.mean(axis=1, keepdims=True)
    mask = forward.patch_mask(truth.light.probe).numpy()
    arrays = {
        "patch_estimators": np.array([prediction.estimator for prediction in with_patches]),
        "estimators": np.array([prediction.estimator for prediction in first_seeds]),
        "counts": read_arrays(path, ["counts"])["counts"][nearest, dose, :_EXAMPLES],
        "true_patches_rad": _on_box(true, mask),
        "patches_rad": np.array(
            [
                _on_box(_at_condition(where, prediction.patches_rad, prediction)[:_EXAMPLES], mask)
                for prediction in with_patches
            ]
        ),
        "pixel_size_a": np.float64(truth.light.pixel_size_a),
    }
    names = []
    for scans in truth.scan_sets:
        if scans.where["object"] != CALIBRATION and scans.is_plain and scans.dose_e == truth.light.dose_e:
            where = condition(**scans.where)
            images = [_at_condition(where, prediction.images, prediction) for prediction in first_seeds]
            names += scans.scans
            for index, scan in enumerate(scans.scans):
                arrays |= _common_frame(scan, truth.images_rad[scans.where["object"]][index], images, index)
    return arrays | {"scans": np.array(names)}


def _at_condition(where: str, by_condition: Mapping[str, Any], prediction: Prediction) -> Any:
    if where not in by_condition:
        raise InputError(f"the predictions of {prediction.estimator} lack the condition {where}; predict again")
    return by_condition[where]


def _first_of_each_estimator(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The first seed's last stage of every estimator, in the order of the predictions."""
    last_stages: dict[str, Prediction] = {}
    for prediction in predictions:
        if last_stages.setdefault(prediction.estimator, prediction).seed == prediction.seed:
            last_stages[prediction.estimator] = prediction
    return list(last_stages.values())


def _on_box(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values (X, K) of the mask's pixels as images (X, h, w) of its box, float32, NaN off the mask."""
    images = np.full((len(values), *mask.shape), np.nan, np.float32)
    images[:, mask] = values
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return images[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _common_frame(scan: str, truth: np.ndarray, by_estimator: Sequence[Images], index: int) -> dict[str, np.ndarray]:
    """Truth (H, W) and the images of the scan `index`, cropped to the region that all cover, mean-free."""
    frames = np.full((len(by_estimator) + 1, *truth.shape), np.nan, np.float32)
    frames[0] = truth
    for canvas, images in zip(frames[1:], by_estimator, strict=True):
        (top, left), image = images.origins_px[index], images.image_rad[index]
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    covered = np.isfinite(frames).all(axis=0)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    frame = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    frames = np.where(covered, frames, np.nan)[frame]
    frames -= np.nanmean(frames, axis=(1, 2), keepdims=True)
    return {f"true.{scan}_rad": frames[0], f"{scan}_rad": frames[1:]}
