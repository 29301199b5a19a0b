"""A small scan of a known object, for the estimators of images."""

from typing import NamedTuple

import numpy as np
import torch

from tests.diffractive_imaging import settings
from workflow_scripts.diffractive_imaging import datasets, forward, objects
from workflow_scripts.diffractive_imaging.perfect_patches import beside_truth
from workflow_scripts.diffractive_imaging.stitching import Stitched
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.study.metrics import phase_rmse_rad_meanfree


class Scanned(NamedTuple):
    """An object of 0.5 rad and its noiseless patterns, each summing to 1."""

    light: datasets.Illumination
    fine: torch.Tensor
    positions: torch.Tensor
    patterns: torch.Tensor

    def rmse(self, image: Stitched) -> float:
        """RMSE of an image against the object, rad."""
        return phase_rmse_rad_meanfree(*beside_truth(image, self.fine))


def scan(points: int = 32) -> Scanned:
    """A jittered raster over a smooth random object (1/f²)."""
    given = settings.synthesize()
    light = datasets.illumination(given.probe, given.dose_e, None)
    rng = np.random.default_rng(0)
    positions, side = datasets.raster(points, 0.87, 0.1, light.n / 2 + 2, rng)
    shape = 0.5 * objects.power_law_noise(1, side, rng, exponent=2.0)[0]
    fine = torch.from_numpy(objects.refine(shape, forward.UPSAMPLING)).double()
    windows = forward.window_at(fine, positions, light.n, forward.UPSAMPLING)
    return Scanned(light, fine, positions, diffraction_pattern(light.probe, windows))
