"""Ridge regression from a diffraction pattern to the mean-free patch, in closed form.

It is fitted to the training examples of the networks. The dose is known, so each dose has a separate fit, whose penalty
and feature (√I or I) are chosen on the validation examples at that dose.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.imaging import PatchEstimator, Predictions
from workflow_scripts.diffractive_imaging.networks.pattern_task import read_examples
from workflow_scripts.diffractive_imaging.settings import VARIANTS
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination
from workflow_scripts.diffractive_imaging.simulation.forward import network_input, patch_mask, remove_mask_mean
from workflow_scripts.optics.noise import poisson_counts
from workflow_scripts.workflow.command import Job

_BATCH = 1024
FEATURES = ("amplitude", "intensity")  # √I or I, both normalised by the dose
PENALTIES = tuple(10.0**k for k in range(-5, 3))  # in units of the mean variance of a feature


def predict(job: Job, device: torch.device) -> Predictions:
    """Patches, and the images stitched from them.

    Raises:
        InputError: the training files are missing or broken.
    """
    job.require("shards")
    light = Illumination.read(job.input("test"))
    estimator = PatchEstimator(RidgeByDose(job.inputs["shards"], light), light, has_spread=True)
    return estimator.predict("fitted", job.input("test"))


class RidgeByDose:
    """Patterns to patches, fitted anew for every dose."""

    def __init__(self, shards: Sequence[Path], light: Illumination) -> None:
        """Args: shards, training files of the stage synthesize."""
        self._train, self._validation, _ = read_examples(shards, VARIANTS["corrected"], seed=0)
        self._mask = patch_mask(light.probe)
        self._fits: dict[float, Ridge] = {}

    def __call__(self, counts: Tensor, dose_e: float) -> Tensor:
        """See `imaging.EstimatePatches`."""
        if dose_e not in self._fits:
            self._fits[dose_e] = self._fit(dose_e)
        parts = [estimate(self._fits[dose_e], part.float(), dose_e) for part in counts.split(_BATCH)]
        return remove_mask_mean(torch.cat(parts), self._mask)

    def _fit(self, dose_e: float) -> "Ridge":
        generator = torch.Generator().manual_seed(0)
        held_out = self._counted(self._validation[:], dose_e, generator)
        fits = []
        for feature in FEATURES:
            batches = (
                self._counted(self._train[start : start + _BATCH], dose_e, generator)
                for start in range(0, len(self._train), _BATCH)
            )
            fits += fit(batches, dose_e, self._mask, feature)
        return tune(fits, *held_out, dose_e)

    def _counted(
        self, examples: tuple[Tensor, ...], dose_e: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Counts at a dose and mean-free patches, (B, n, n) each, of examples of `read_examples`."""
        pattern, _, patch = examples
        return poisson_counts(pattern, dose_e, generator), remove_mask_mean(patch, self._mask)


class Ridge(NamedTuple):
    """A fitted map: patch[mask] = offset + weight · feature."""

    weight: Tensor  # float64 (n², M)
    offset: Tensor  # float64 (M,)
    mask: Tensor  # bool (n, n), M of them true
    feature: str
    penalty: float


def fit(
    batches: Iterable[tuple[Tensor, Tensor]],
    dose_e: float,
    mask: Tensor,
    feature: str,
    penalties: Iterable[float] = PENALTIES,
) -> list[Ridge]:
    """min ‖y − Xw − b‖² + λ ‖w‖² for each λ = penalty × mean eigenvalue, one decomposition for all.

    The normal equations are sums over batches, float64, never more than (n², n²).

    Args:
        batches: counts (B, n, n) and target patches (B, n, n).
        mask: bool (n, n), where patches are fitted.
        feature: one of ``FEATURES``.
    """
    n, outputs = mask.numel(), int(mask.sum())
    xx, xy = (torch.zeros(n, size, dtype=torch.float64) for size in (n, outputs))
    count, sum_x, sum_y = 0, 0.0, 0.0
    for counts, patches in batches:
        x = features(counts, dose_e, feature)  # (B, n²)
        y = patches[:, mask].double()  # (B, M)
        count += len(x)
        sum_x, sum_y = sum_x + x.sum(dim=0), sum_y + y.sum(dim=0)
        xx.addmm_(x.T, x)
        xy.addmm_(x.T, y)
    mean_x, mean_y = sum_x / count, sum_y / count
    values, vectors = torch.linalg.eigh(xx - count * torch.outer(mean_x, mean_x))
    projected = vectors.T @ (xy - count * torch.outer(mean_x, mean_y))
    fits = []
    for penalty in penalties:
        weight = vectors @ (projected / (values.clamp(min=0) + penalty * values.mean())[:, None])
        fits.append(Ridge(weight, mean_y - mean_x @ weight, mask, feature, penalty))
    return fits


def features(counts: Tensor, dose_e: float, feature: str) -> Tensor:
    """float64 (B, n²) from counts (B, n, n): √(counts/dose) · n, or for ``intensity`` its square."""
    amplitude = network_input(counts.double(), dose_e).flatten(1)
    return amplitude if feature == "amplitude" else amplitude.square()


def estimate(ridge: Ridge, counts: Tensor, dose_e: float) -> Tensor:
    """Patches (B, n, n) in the dtype of ``counts`` (B, n, n), zero outside the mask."""
    patches = counts.new_zeros(counts.shape)
    patches[:, ridge.mask] = (features(counts, dose_e, ridge.feature) @ ridge.weight + ridge.offset).to(counts)
    return patches


def patch_r2(predicted: Tensor, true: Tensor) -> float:
    """R² = 1 − ∑(p − t)² / ∑t², pooled over patches (N, n, n), mean-free and zero outside the mask."""
    return 1 - float((predicted - true).double().square().sum() / true.double().square().sum())


def tune(fits: Iterable[Ridge], counts: Tensor, patches: Tensor, dose_e: float) -> Ridge:
    """The fit with the largest patch R² on validation data; counts and patches as a batch of `fit`."""
    return max(fits, key=lambda ridge: patch_r2(estimate(ridge, counts, dose_e), patches))
