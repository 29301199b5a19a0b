"""A small scan of a known object, test files, and jobs, for the estimators."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch

from tests.diffractive_imaging import settings
from workflow_scripts.diffractive_imaging.evaluation.transfer import beside_truth
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation import datasets, forward, objects
from workflow_scripts.diffractive_imaging.simulation.photographs import large_enough
from workflow_scripts.diffractive_imaging.simulation.sources import photographs
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.study.metrics import phase_rmse_rad_meanfree
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.files import write_arrays


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
    synthesize = settings.synthesize()
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    rng = np.random.default_rng(0)
    positions, side = datasets.raster(points, 0.87, 0.1, light.n / 2 + 2, rng)
    shape = 0.5 * objects.power_law_noise(1, side, rng, exponent=2.0)[0]
    fine = torch.from_numpy(objects.refine(shape, forward.UPSAMPLING)).double()
    windows = forward.window_at(fine, positions, light.n, forward.UPSAMPLING)
    return Scanned(light, fine, positions, diffraction_pattern(light.probe, windows))


def write_test_file(path: Path, points: int, test_dose_e: Sequence[float] | None = None, **changes) -> Path:
    """A test file of the smoke scale with scans of `points` a side, and changes of the section `scan`."""
    scan = settings.synthesize().scan.model_dump(mode="json") | {"points": points, **changes}
    synthesize = settings.synthesize(scan=scan, **({} if test_dose_e is None else {"test_dose_e": test_dose_e}))
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    files = large_enough(photographs(None, "test"), 2 * light.n)
    write_arrays(path, datasets.test_set(synthesize, light, files, np.random.default_rng(0)))
    return path


def job(test: Path, inputs: dict[str, Path] | None = None, **arguments) -> Job:
    """A job of the stage predict; it needs what the estimator's module reads of it."""
    common = {"module": "", "training_seed": 0, "precision": "float32", "options": SimpleNamespace(batch_size=64)}
    files = {"test": test, **(inputs or {})}
    return Job(SimpleNamespace(**common | arguments), {name: [path] for name, path in files.items()}, {}, Path())
