"""What all estimators share: the test set and the scans of a test file in, patches and images by condition out."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    full_dose_photographs,
    read_perturbed,
    read_scan,
    scan_sets,
)
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.files import read_arrays

# Arrays by name, by stage and condition: what `study.predictions.write_predictions` takes.
Predictions = dict[tuple[str, str], dict[str, np.ndarray]]
# Patterns (N, n, n) and their dose, electrons per pattern → patches float32 (N, n, n) rad on the fine grid, zero
# outside the mask, mean-free inside.
EstimatePatches = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class ImageEstimator:
    """Predictions with images alone.

    Attributes:
        reconstruct: patterns (N, n, n) along the object's axes, positions (N, 2) [y, x] in object pixels and the dose
            in electrons per pattern → image.
        takes_perturbed: whether it also gets the perturbed scans, whose experiment is not what it assumes.
        chooses_iteration: whether the number of its iterations is a result.
    """

    reconstruct: Callable[[Tensor, Tensor, float], Stitched]
    takes_perturbed: bool = True
    chooses_iteration: bool = False
    has_spread: bool = field(default=False, init=False)
    variant: Variant = field(default=VARIANTS["corrected"], init=False)

    def image(self, counts: Tensor, positions_px: Tensor, dose_e: float) -> tuple[Stitched, None]:
        """The image, and no spread; arguments as of `reconstruct`."""
        return self.reconstruct(counts, positions_px, dose_e), None


@dataclass(frozen=True)
class PatchEstimator:
    """Predictions with patches, which are stitched to images.

    Attributes:
        estimate: from patterns to patches.
        light: the illumination.
        variant: how patterns are oriented and patches stitched; baselines are treated as the corrected arm is.
        seed: of the shuffles of the published stitching.
        has_spread: whether images come with the uncalibrated standard error of their pixels.
        takes_perturbed: as of `ImageEstimator`.
    """

    estimate: EstimatePatches
    light: Illumination
    variant: Variant = VARIANTS["corrected"]
    seed: int = 0
    has_spread: bool = False
    takes_perturbed: bool = True
    chooses_iteration: bool = field(default=False, init=False)

    def image(self, counts: Tensor, positions_px: Tensor, dose_e: float) -> tuple[Stitched, Tensor | None]:
        """The image of patterns (N, n, n) at positions (N, 2) and, if `has_spread`, the spread (h, w) of its pixels."""
        patches = self.estimate(counts, dose_e)
        image = stitch(patches, positions_px, self.light, self.variant, self.seed)
        if not self.has_spread:
            return image, None
        return image, standard_error(image, patches, positions_px, self.light.patch_weights())


def predict_test_file(estimator: ImageEstimator | PatchEstimator, stage: str, test: Path) -> Predictions:
    """What one stage of an estimator predicts for a whole test file, under the conditions of metrics.csv.

    Returns:
        patches_rad of the test set from a `PatchEstimator`; the arrays of `image_arrays` of the scans of every object,
        of the scan `CALIBRATION` only with a spread; and, if it `takes_perturbed`, images of the perturbed scans.
    """
    result: Predictions = {}
    if isinstance(estimator, PatchEstimator):
        result |= predict_patches(estimator.estimate, stage, test)
    for scans in scan_sets(test):
        if scans.where["object"] != CALIBRATION or estimator.has_spread:
            where = condition(**scans.where)
            print(f"{stage} {where}", file=sys.stderr, flush=True)
            measured = [read_scan(test, name, scans.dose_e) for name in scans.scans]
            result[stage, where] = image_arrays(estimator, measured, scans.dose_e)
    if estimator.takes_perturbed:
        photographs = full_dose_photographs(test)
        for name, scan in read_perturbed(test).items():
            where = condition(**photographs.where, perturbation=name)
            arrays = image_arrays(estimator, [scan], photographs.dose_e)
            result[stage, where] = {key: arrays[key] for key in ("image_rad", "origin_px")}
    return result


def predict_patches(estimate: EstimatePatches, stage: str, test: Path, **where: str) -> Predictions:
    """The patches of the test set: patches_rad (M, K) in the K pixels of the mask, for each phase and dose.

    Args:
        where: what else the conditions name.
    """
    arrays = read_arrays(test, ["counts", "phase_std_rad", "test_dose_e"])  # counts (S, D, M, n, n)
    mask = Illumination.read(test).mask()
    result: Predictions = {}
    for std, by_dose in zip(arrays["phase_std_rad"].tolist(), arrays["counts"], strict=True):
        for dose, counts in zip(arrays["test_dose_e"].tolist(), by_dose, strict=True):
            patches = estimate(torch.from_numpy(counts), dose)[:, mask].numpy()
            result[stage, condition(dose_e=dose, phase_std_rad=std, **where)] = {"patches_rad": patches}
    return result


def image_arrays(
    estimator: ImageEstimator | PatchEstimator, scans: Sequence[Scan], dose_e: float
) -> dict[str, np.ndarray]:
    """The images of C scans with the same positions.

    Returns:
        image_rad float32 (C, h, w) in object pixels, NaN where no patch lies; origin_px (C, 2), the object pixel
        [y, x] of their [0, 0]; with a spread spread_rad float32 (C, h, w), NaN where it is unknown; iterations (C,) if
        the estimator chooses them.
    """
    images, spreads = [], []
    for scan in scans:
        counts = oriented(scan.counts, scan.detector_transposed, estimator.variant)
        image, spread = estimator.image(counts, scan.positions_px, dose_e)
        images.append(image)
        spreads.append(spread)
    arrays = {
        "image_rad": np.array([image.to_object_pixels().numpy() for image in images], np.float32),
        "origin_px": np.array([image.origin for image in images]),
    }
    if estimator.has_spread:
        arrays["spread_rad"] = np.array([spread.numpy() for spread in spreads], np.float32)
    if estimator.chooses_iteration:
        arrays["iterations"] = np.array([image.iterations for image in images])
    return arrays


def oriented(counts: Tensor, transposed: bool, variant: Variant) -> Tensor:
    """Patterns (…, n, n) with the axes of the object; the published recipe takes them as they were recorded."""
    return counts if variant.axes_exchanged or not transposed else counts.transpose(-2, -1)


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
