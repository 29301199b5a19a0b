"""Ridge regression from a diffraction pattern to the mean-free patch: the baseline, in closed form.

It is fitted to the networks' own training examples. An expert knows the dose: each dose has a fit of its own, whose
penalty and feature (√I or I) are chosen on the validation examples at that dose.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.imaging import PatchEstimator, Predictions
from workflow_scripts.diffractive_imaging.networks.pattern_task import Examples, read_examples
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
        held_out = self._measured(self._validation, dose_e, generator)
        fits = []
        for feature in FEATURES:
            equations = NormalEquations(self._mask, feature)
            for index in torch.arange(len(self._train)).split(_BATCH):
                equations.add(*self._measured(self._train.rows(index), dose_e, generator))
            fits += equations.solve()
        return tune(fits, *held_out)

    def _measured(self, examples: Examples, dose_e: float, generator: torch.Generator) -> tuple[Tensor, float, Tensor]:
        counts = poisson_counts(examples.pattern, dose_e, generator)
        return counts, dose_e, remove_mask_mean(examples.patch_rad, self._mask)


class Ridge(NamedTuple):
    """A fitted map: patch[mask] = offset + weight · feature."""

    weight: Tensor  # float64 (n², M)
    offset: Tensor  # float64 (M,)
    mask: Tensor  # bool (n, n), M of them true
    feature: str
    penalty: float


class NormalEquations:
    """Sums over batches from which ridge of any penalty follows, float64, never more than (n², n²)."""

    def __init__(self, mask: Tensor, feature: str) -> None:
        """Args: mask bool (n, n); feature one of ``FEATURES``."""
        n, outputs = mask.numel(), int(mask.sum())
        self.mask, self.feature, self.count = mask, feature, 0
        self._sum_x = mask.new_zeros(n, dtype=torch.float64)
        self._sum_y = mask.new_zeros(outputs, dtype=torch.float64)
        self._xx = mask.new_zeros(n, n, dtype=torch.float64)
        self._xy = mask.new_zeros(n, outputs, dtype=torch.float64)

    def add(self, counts: Tensor, dose_e: Tensor | float, patches: Tensor) -> None:
        """Takes in a batch: counts (B, n, n), their dose, target patches (B, n, n)."""
        x = features(counts, dose_e, self.feature)  # (B, n²)
        y = patches[:, self.mask].double()  # (B, M)
        self.count += len(x)
        self._sum_x += x.sum(dim=0)
        self._sum_y += y.sum(dim=0)
        self._xx.addmm_(x.T, x)
        self._xy.addmm_(x.T, y)

    def solve(self, penalties: Iterable[float] = PENALTIES) -> list[Ridge]:
        """min ‖y − Xw − b‖² + λ ‖w‖² for each λ = penalty × mean eigenvalue, one decomposition for all."""
        mean_x, mean_y = self._sum_x / self.count, self._sum_y / self.count
        gram = self._xx - self.count * torch.outer(mean_x, mean_x)
        values, vectors = torch.linalg.eigh(gram)
        projected = vectors.T @ (self._xy - self.count * torch.outer(mean_x, mean_y))
        fits = []
        for penalty in penalties:
            weight = vectors @ (projected / (values.clamp(min=0) + penalty * values.mean())[:, None])
            fits.append(Ridge(weight, mean_y - mean_x @ weight, self.mask, self.feature, penalty))
        return fits


def features(counts: Tensor, dose_e: Tensor | float, feature: str) -> Tensor:
    """float64 (B, n²) from counts (B, n, n): √(counts/dose) · n, or for ``intensity`` its square."""
    amplitude = network_input(counts.double(), dose_e).flatten(1)
    return amplitude if feature == "amplitude" else amplitude.square()


def estimate(ridge: Ridge, counts: Tensor, dose_e: Tensor | float) -> Tensor:
    """Patches (B, n, n) in the dtype of ``counts`` (B, n, n), zero outside the mask."""
    patches = counts.new_zeros(counts.shape)
    patches[:, ridge.mask] = (features(counts, dose_e, ridge.feature) @ ridge.weight + ridge.offset).to(counts)
    return patches


def patch_r2(predicted: Tensor, true: Tensor) -> float:
    """R² = 1 − ∑(p − t)² / ∑t², pooled over patches (N, n, n), mean-free and zero outside the mask."""
    return 1 - float((predicted - true).double().square().sum() / true.double().square().sum())


def tune(fits: Iterable[Ridge], counts: Tensor, dose_e: Tensor | float, patches: Tensor) -> Ridge:
    """The fit with the largest patch R² on validation data; arguments as for ``NormalEquations.add``."""
    return max(fits, key=lambda fit: patch_r2(estimate(fit, counts, dose_e), patches))
