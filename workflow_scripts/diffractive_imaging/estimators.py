"""Estimators of the patch behind a pattern, a trained network or ridge regression, and of the image of a scan."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging import center_of_mass, forward, ptychography, ridge
from workflow_scripts.diffractive_imaging.datasets import Illumination
from workflow_scripts.diffractive_imaging.pattern_task import Examples, read_examples
from workflow_scripts.diffractive_imaging.reconstruction import estimate_patches, load_network, stitch
from workflow_scripts.diffractive_imaging.settings import PtychographySettings
from workflow_scripts.diffractive_imaging.stitching import Stitched
from workflow_scripts.diffractive_imaging.uncertainty import standard_error
from workflow_scripts.diffractive_imaging.variants import VARIANTS, Variant
from workflow_scripts.learning.devices import Precision
from workflow_scripts.optics.noise import poisson_counts

_BATCH = 1024


class Estimator(Protocol):
    """Patterns to patches."""

    def __call__(self, counts: Tensor, dose_e: float) -> Tensor:
        """Counts (N, n, n) of known dose → patches float32 (N, n, n) rad, zero outside the mask, mean-free inside."""


def patches_of(estimator: Estimator, counts: np.ndarray, doses: Sequence[float], light: Illumination) -> np.ndarray:
    """The patches (S, D, M, K) in the K pixels of the mask behind counts (S, D, M, n, n) of D doses."""
    mask = forward.patch_mask(light.probe)
    return np.array(
        [
            [estimator(torch.from_numpy(part), dose)[:, mask].numpy() for part, dose in zip(parts, doses, strict=True)]
            for parts in counts
        ]
    )


class Imager(Protocol):
    """Scans to images.

    has_spread: whether images come with the uncalibrated standard error of their object pixels.
    """

    has_spread: bool

    def __call__(self, counts: Tensor, positions_px: Tensor, dose_e: float) -> tuple[Stitched, Tensor | None]:
        """Oriented counts (N, n, n) of known dose at positions (N, 2) [y, x] in object pixels → image and spread.

        The spread (h, w) is that of `uncertainty.standard_error`; None without `has_spread`.
        """


class PatchImager:
    """The stitched patches of an estimator, as the arm stitches them."""

    def __init__(self, estimator: Estimator, light: Illumination, variant: Variant, seed: int) -> None:
        self._estimator = estimator
        self._light = light
        self._rest = (light, variant, seed)
        self.has_spread = not variant.damped_stitching

    def __call__(self, counts: Tensor, positions_px: Tensor, dose_e: float) -> tuple[Stitched, Tensor | None]:
        """See `Imager`."""
        patches = self._estimator(counts, dose_e)
        image = stitch(patches, positions_px, *self._rest)
        if not self.has_spread:
            return image, None
        return image, standard_error(image, patches, positions_px, self._light.patch_weights())


class CenterOfMassImager:
    """Integrated centre of mass; it needs no dose."""

    has_spread = False

    def __init__(self, light: Illumination) -> None:
        self._light = light

    def __call__(self, counts: Tensor, positions_px: Tensor, dose_e: float) -> tuple[Stitched, Tensor | None]:
        """See `Imager`."""
        return center_of_mass.reconstruct(counts, positions_px, self._light), None


class PtychographyImager:
    """Iterative ptychography at its best iteration; the log holds the losses of all."""

    has_spread = False

    def __init__(self, light: Illumination, settings: PtychographySettings, seed: int, device: torch.device) -> None:
        self._light = light
        self._rest = (settings, seed, device)

    def __call__(self, counts: Tensor, positions_px: Tensor, dose_e: float) -> tuple[Stitched, Tensor | None]:
        """See `Imager`."""
        fitted = ptychography.reconstruct(counts, positions_px, self._light, dose_e, *self._rest)
        for number, (loss, held_out) in enumerate(fitted.losses, start=1):
            best = ", the best" if number == fitted.image.iterations else ""
            print(f"iteration {number}: loss {loss:.5f}, held out {held_out:.5f}{best}", file=sys.stderr)
        return fitted.image, None


class NetworkEstimator:
    """A network of either arm."""

    def __init__(
        self,
        weights: Path,
        light: Illumination,
        variant: Variant,
        device: torch.device,
        precision: Precision,
        batch_size: int,
    ) -> None:
        self._network = load_network(weights)
        self._rest = (light, variant, device, precision, batch_size)

    def __call__(self, counts: Tensor, dose_e: float) -> Tensor:
        """See `Estimator`."""
        return estimate_patches(self._network, counts, dose_e, *self._rest)


class RidgeEstimator:
    """Ridge regression on the networks' own training examples.

    An expert knows the dose: ridge is fitted for each dose anew, its penalty and its feature (√I or I) chosen
    on the validation examples at that dose.
    """

    def __init__(self, shards: Sequence[Path], light: Illumination) -> None:
        self._train, self._validation, _ = read_examples(shards, VARIANTS["corrected"], seed=0)
        self._mask = forward.patch_mask(light.probe)
        self._fits: dict[float, ridge.Ridge] = {}

    def __call__(self, counts: Tensor, dose_e: float) -> Tensor:
        """See `Estimator`."""
        if dose_e not in self._fits:
            self._fits[dose_e] = self._fit(dose_e)
        fit = self._fits[dose_e]
        parts = [ridge.predict(fit, part.float(), dose_e) for part in counts.split(_BATCH)]
        return forward.remove_mask_mean(torch.cat(parts), self._mask)

    def _fit(self, dose_e: float) -> ridge.Ridge:
        generator = torch.Generator().manual_seed(0)
        held_out = self._measured(self._validation, dose_e, generator)
        fits = []
        for feature in ridge.FEATURES:
            equations = ridge.NormalEquations(self._mask, feature)
            for index in torch.arange(len(self._train)).split(_BATCH):
                equations.add(*self._measured(self._train.rows(index), dose_e, generator))
            fits += equations.solve()
        return ridge.tune(fits, *held_out)

    def _measured(self, examples: Examples, dose_e: float, generator: torch.Generator) -> tuple[Tensor, float, Tensor]:
        counts = poisson_counts(examples.pattern, dose_e, generator)
        return counts, dose_e, forward.remove_mask_mean(examples.patch_rad, self._mask)
