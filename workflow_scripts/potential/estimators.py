"""Estimators of the potential behind segmented images: labels alone, integrated centre of mass, ridge."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from workflow_scripts.potential import center_of_mass, ridge
from workflow_scripts.potential.counting import measured_shares
from workflow_scripts.potential.metadata_mean import MetadataMean
from workflow_scripts.potential.samples import FILLED, Samples, read_samples

# Factors are fitted on as many images at most, of all training files together
_CALIBRATION_ROWS = 500


class Estimator(Protocol):
    """Images to potentials."""

    def __call__(self, samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        """Potential float32 (N, H, W), V Å.

        samples: N rows, of which nothing but the labels counts; shares: (N, 4, H, W) measured of them at the dose by
        the detector.
        """


class TrainingFiles:
    """What a baseline may learn from: the training files without the material that is held out, one in memory at once.

    Raises, when a file is read:
        InputError: as of `samples.read_samples`.
    """

    def __init__(self, paths: Sequence[Path], held_out: str) -> None:
        """Args: the files; name of the material."""
        self._paths, self._held_out = paths, held_out

    def __iter__(self) -> Iterator[Samples]:
        for path in self._paths:
            samples = read_samples([path])
            yield samples.rows(samples.material != self._held_out)

    def filled(self) -> Iterator[Samples]:
        """Crystals that fill the field of view alone."""
        for samples in self:
            yield samples.rows(samples.kind == FILLED)

    def some(self, n_rows: int) -> list[Samples]:
        """About as many filled samples, evenly from all files."""
        share = max(1, n_rows // len(self._paths))
        return [part.rows(np.arange(0, len(part), max(1, len(part) // share))) for part in self.filled()]


class MetadataMeanEstimator:
    """The mean potential of material and thickness, the same in every pixel."""

    def __init__(self, training: TrainingFiles) -> None:
        self._mean = MetadataMean(training)

    def __call__(self, samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        """See `Estimator`."""
        return np.broadcast_to(self._mean(samples)[:, None, None], samples.potential.shape).astype(np.float32)


class CenterOfMassEstimator:
    """Integrated centre of mass in V Å, calibrated for each detector and dose anew; its mean is that of the labels."""

    def __init__(self, training: TrainingFiles, seed: int) -> None:
        """Args: the training files; seed of the counts on which the factors are fitted."""
        self._mean = MetadataMean(training)
        self._training = training.some(_CALIBRATION_ROWS)
        self._seed = seed
        self._calibrations: dict[tuple[str, float], center_of_mass.Calibration] = {}

    def __call__(self, samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        """See `Estimator`."""
        key = detector, dose_e_per_a2
        if key not in self._calibrations:
            measured = [
                measured_shares(part, *key, seed=self._seed + 1 + number) for number, part in enumerate(self._training)
            ]
            self._calibrations[key] = center_of_mass.calibrate(measured, self._training, detector)
        calibration = self._calibrations[key]
        image = center_of_mass.icom(shares, samples, detector, calibration.longest_period_a)
        mean = self._mean(samples)  # refuses a thickness that training lacks
        factor = np.array([calibration.factor[thickness] for thickness in samples.nominal_nm.tolist()])
        return (mean[:, None, None] + factor[:, None, None] * image).astype(np.float32)


class RidgeEstimator:
    """Ridge deconvolution, fitted for each detector and dose anew: an expert knows both."""

    def __init__(self, training: TrainingFiles, kernel_px: int) -> None:
        """Args: the training files; side of the kernels."""
        self._training, self._kernel_px = training, kernel_px
        self._equations: dict[str, ridge.NormalEquations] = {}

    def __call__(self, samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        """See `Estimator`."""
        if detector not in self._equations:
            self._equations[detector] = ridge.NormalEquations(self._training.filled(), detector, self._kernel_px)
        fit = self._equations[detector].solve(dose_e_per_a2 * samples.microscope.pixel_size_a**2)
        return ridge.apply(fit, shares, samples.thickness_nm).astype(np.float32)


def predictions_of(
    estimator: Estimator,
    samples: Samples,
    detector: str,
    doses_e_per_a2: Sequence[float],
    seed: int,
    labels: Samples | None = None,
) -> np.ndarray:
    """Potentials float32 (N, D, H, W), V Å, of the samples as counted at every dose.

    labels: the same rows with other metadata, which the estimator gets to see instead.
    """
    found = np.empty((len(samples), len(doses_e_per_a2), *samples.potential.shape[1:]), np.float32)
    for index, dose in enumerate(doses_e_per_a2):
        shares = measured_shares(samples, detector, dose, seed)
        found[:, index] = estimator(labels or samples, shares, detector, dose)
    return found


def with_shuffled_metadata(samples: Samples, seed: int) -> Samples:
    """The samples with thickness and rotation of another sample of their kind: a control, for they must matter little
    to where the atoms are, and may not help."""
    place = np.arange(len(samples))
    for kind in np.unique(samples.kind):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(samples.kind == kind))
        place[rows] = np.roll(rows, 1)
    return replace(samples, thickness_nm=samples.thickness_nm[place], rotation_deg=samples.rotation_deg[place])


BASELINES: dict[str, Callable[[TrainingFiles, int, int], Estimator]] = {
    "metadata_mean": lambda training, kernel_px, seed: MetadataMeanEstimator(training),
    "icom": lambda training, kernel_px, seed: CenterOfMassEstimator(training, seed),
    "ridge": lambda training, kernel_px, seed: RidgeEstimator(training, kernel_px),
}
