"""Shared by all estimators: from the test set and the scans of a test file to patches and images by condition."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.stitching import (
    Stitched,
    damped_average,
    least_squares,
    standard_error,
)
from workflow_scripts.diffractive_imaging.settings import VARIANTS, Variant
from workflow_scripts.diffractive_imaging.simulation.datasets import (
    CALIBRATION,
    Illumination,
    Scan,
    scan_sets,
)
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.files import read_arrays

# Arrays by name, by stage and condition: what `study.predictions.write_predictions` takes.
Predictions = dict[tuple[str, str], dict[str, np.ndarray]]
# Patterns (N, n, n) along the object's axes and their dose, electrons per pattern → patches float32 (N, n, n) rad on
# the fine grid, zero outside the mask, mean-free inside.
EstimatePatches = Callable[[Tensor, float], Tensor]
# A scan and its dose, electrons per pattern → the arrays of `image_arrays`, and others that the estimator adds.
Reconstruct = Callable[[Scan, float], dict[str, np.ndarray]]


def image_arrays(image: Stitched) -> dict[str, np.ndarray]:
    """An image as predictions hold it.

    Returns:
        image_rad float32 (h, w) in object pixels, NaN where no patch lies; origin_px (2,), the object pixel [y, x] of
        its [0, 0].
    """
    return {"image_rad": image.to_object_pixels().numpy().astype(np.float32), "origin_px": np.array(image.origin)}


@dataclass(frozen=True)
class PatchEstimator:
    """An estimator that predicts patches, from which images are stitched.

    Attributes:
        estimate: from patterns to patches.
        light: the illumination.
        variant: how patterns are oriented and patches stitched; baselines are treated as the corrected arm is.
        seed: of the shuffles of the published stitching.
        has_spread: whether images come with the uncalibrated standard error of their pixels.
    """

    estimate: EstimatePatches
    light: Illumination
    variant: Variant = VARIANTS["corrected"]
    seed: int = 0
    has_spread: bool = False

    def reconstruct(self, scan: Scan, dose_e: float) -> dict[str, np.ndarray]:
        """The arrays of `image_arrays`, and with a spread spread_rad float32 (h, w), NaN where it is unknown."""
        patches = self.estimate(oriented(scan, self.variant), dose_e)
        image = stitch(patches, scan.positions_px, self.light, self.variant, self.seed)
        arrays = image_arrays(image)
        if self.has_spread:
            spread = standard_error(image, patches, scan.positions_px, self.light.patch_weights())
            arrays["spread_rad"] = spread.numpy().astype(np.float32)
        return arrays

    def predict(self, stage: str, test: Path, perturbed: bool = True) -> Predictions:
        """Patches of the test set and images of the scans; arguments as for `predict_scans`."""
        patches = predict_patches(self.estimate, stage, test)
        return patches | predict_scans(self.reconstruct, stage, test, calibration=self.has_spread, perturbed=perturbed)


def predict_patches(estimate: EstimatePatches, stage: str, test: Path, **where: str) -> Predictions:
    """The patches of the test set: patches_rad (M, K) in the K pixels of the mask, for each phase and dose.

    Args:
        where: further values of the conditions.
    """
    arrays = read_arrays(test, ["counts", "phase_std_rad", "test_dose_e"])  # counts (S, D, M, n, n)
    mask = Illumination.read(test).mask()
    result: Predictions = {}
    for std, by_dose in zip(arrays["phase_std_rad"].tolist(), arrays["counts"], strict=True):
        for dose, counts in zip(arrays["test_dose_e"].tolist(), by_dose, strict=True):
            patches = estimate(torch.from_numpy(counts), dose)[:, mask].numpy()
            result[stage, condition(dose_e=dose, phase_std_rad=std, **where)] = {"patches_rad": patches}
    return result


def predict_scans(
    reconstruct: Reconstruct, stage: str, test: Path, *, calibration: bool = False, perturbed: bool = True
) -> Predictions:
    """The images of the scans of a test file, under the conditions of metrics.csv.

    Args:
        stage: of the estimator, as predictions name it.
        calibration: whether to reconstruct the scan `CALIBRATION` too, which estimators with a spread need.
        perturbed: whether to reconstruct the perturbed scans too, whose experiment violates the assumptions.
    """
    result: Predictions = {}
    for scans in scan_sets(test):
        if (scans.where["object"] == CALIBRATION and not calibration) or (scans.perturbation and not perturbed):
            continue
        where = condition(**scans.where)
        print(f"{stage} {where}", file=sys.stderr, flush=True)
        result[stage, where] = reconstruct_all(reconstruct, scans.read(test), scans.dose_e)
    return result


def reconstruct_all(reconstruct: Reconstruct, scans: Sequence[Scan], dose_e: float) -> dict[str, np.ndarray]:
    """The arrays of C scans with the same positions, each with a leading axis (C, …)."""
    images = [reconstruct(scan, dose_e) for scan in scans]
    return {name: np.array([image[name] for image in images]) for name in images[0]}


def oriented(scan: Scan, variant: Variant) -> Tensor:
    """The counts (N, n, n) along the axes of the object; the published recipe takes them as they were recorded."""
    return scan.counts if variant.axes_exchanged else scan.along_object().counts


def stitch(patches: Tensor, positions_px: Tensor, light: Illumination, variant: Variant, seed: int) -> Stitched:
    """One image from patches (N, n, n) at positions (N, 2) [y, x] in object pixels.

    The published recipe exchanges the axes of the scan and stores its image with x first; the image returned
    here always has y first.
    """
    positions = positions_px.flip(-1) if variant.axes_exchanged else positions_px
    if variant.damped_stitching:
        generator = torch.Generator().manual_seed(seed)
        stitched = damped_average(patches, positions, light.mask(), upsampling=light.upsampling, generator=generator)
    else:
        stitched = least_squares(patches, positions, light.patch_weights(), upsampling=light.upsampling)
    return stitched.transposed() if variant.axes_exchanged else stitched
