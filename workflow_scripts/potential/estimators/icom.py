"""Integrated centre of mass (iCOM) of four segments: the image whose gradient is the deflection of the beam.

In a thin specimen the mean momentum of the electrons is the gradient of the phase under the probe, so its integral is
the phase, smeared by the probe (doi:10.1016/j.ultramic.2015.10.011; with four segments doi:10.1038/ncomms15123).
Segments measure the momentum only roughly, and a thick specimen is no phase object: one factor for each detector and
thickness, fitted on training images, converts the image to V Å. The mean cannot be measured and comes from the labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from workflow_scripts.potential.estimators.metadata_mean import MetadataMean
from workflow_scripts.potential.simulation.counting import measured_shares
from workflow_scripts.potential.simulation.estimation import Estimator, TrainingFiles
from workflow_scripts.potential.simulation.samples import Samples
from workflow_scripts.workflow.command import Job

# Candidates for the longest period that is kept, Å: the noise of an integral grows with the period.
LONGEST_PERIODS_A = (float("inf"), 12.0, 6.0, 4.0, 3.0)
# The factors are fitted on at most this many images, of all training files together.
_CALIBRATION_ROWS = 500


@dataclass(frozen=True)
class Calibration:
    """From iCOM to a potential.

    Attributes:
        longest_period_a: Å.
        factor: V Å per mrad Å of iCOM, by thickness in nm.
    """

    longest_period_a: float
    factor: dict[float, float]


def segment_centroids_mrad(inner_mrad: float, outer_mrad: float) -> np.ndarray:
    """Centroids [y, x] of the four segments of a ring, (4, 2): segment s covers the azimuths 90° s to 90° (s + 1)."""
    radius = 2 / 3 * (outer_mrad**3 - inner_mrad**3) / (outer_mrad**2 - inner_mrad**2)
    radius *= np.sin(np.pi / 4) / (np.pi / 4)
    azimuth = np.radians(45 + 90 * np.arange(4))
    return radius * np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)


def center_of_mass_mrad(shares: np.ndarray, ring_mrad: tuple[float, float]) -> np.ndarray:
    """Mean deflection [y, x] (N, 2, H, W), mrad, of shares (N, 4, H, W) of the incident electrons."""
    return np.einsum("nshw,sd->ndhw", shares.astype(np.float64), segment_centroids_mrad(*ring_mrad))


def integrate(gradient: np.ndarray, pixel_size_a: float, longest_period_a: float = float("inf")) -> np.ndarray:
    """The mean-free image whose gradient is closest to the given field, by Fourier series of the mirrored image.

    An image that is continued by its mirror image has no jump at its edges.

    Args:
        gradient: (N, 2, H, W) [y, x], per Å.
        pixel_size_a: Å.
        longest_period_a: longer periods are left out, Å.

    Returns:
        (N, H, W) in the unit of the gradient times Å.
    """
    height, width = gradient.shape[-2:]
    parts = []
    for axis in (0, 1):
        part = gradient[:, axis]
        # The slope along an axis changes its sign in a mirror across that axis
        part = np.concatenate([part, (-1 if axis == 0 else 1) * part[:, ::-1]], axis=1)
        parts.append(np.concatenate([part, (-1 if axis == 1 else 1) * part[:, :, ::-1]], axis=2))
    wave_y = 2 * np.pi * np.fft.fftfreq(2 * height, pixel_size_a)[:, None]
    wave_x = 2 * np.pi * np.fft.rfftfreq(2 * width, pixel_size_a)
    squared = wave_y**2 + wave_x**2
    passed = squared > max(0.0, 2 * np.pi / longest_period_a * (1 - 1e-9)) ** 2
    with np.errstate(divide="ignore"):
        inverse = np.where(passed, 1 / squared, 0)
    # A wave at Nyquist has no slope on the raster
    wave_y[height], wave_x[width] = 0, 0
    divergence = 1j * (wave_y * np.fft.rfft2(parts[0]) + wave_x * np.fft.rfft2(parts[1]))
    image = np.fft.irfft2(-divergence * inverse, s=parts[0].shape[1:])[:, :height, :width]
    return image - image.mean(axis=(1, 2), keepdims=True)


def icom(shares: np.ndarray, samples: Samples, detector: str, longest_period_a: float = float("inf")) -> np.ndarray:
    """iCOM (N, H, W), mrad Å, mean-free, of measured shares (N, 4, H, W).

    A mean deflection comes from a tilt of the crystal and is removed; a periodic potential has none.
    """
    deflection = center_of_mass_mrad(shares, samples.microscope.ring_mrad[detector])
    deflection -= deflection.mean(axis=(2, 3), keepdims=True)
    return integrate(deflection, samples.microscope.pixel_size_a, longest_period_a)


def calibrate(shares: Sequence[np.ndarray], training: Sequence[Samples], detector: str) -> Calibration:
    """The period and the factors that fit the mean-free potentials of training samples best.

    Args:
        shares: for each part of the training samples the shares measured at one dose, (N, 4, H, W).
        training: the parts.
        detector: `ring` or `matched`.
    """
    best, least = None, np.inf
    for longest_period_a in LONGEST_PERIODS_A:
        products: dict[float, np.ndarray] = {}
        for measured, samples in zip(shares, training, strict=True):
            image = icom(measured, samples, detector, longest_period_a)
            # Divided by thickness: a thick sample must not outweigh all others
            scale = samples.thickness_nm[:, None, None]
            target = (samples.potential - samples.potential.mean(axis=(1, 2), keepdims=True)) / scale
            sums = np.stack([(image * target), image**2, target**2]).sum(axis=(2, 3), dtype=np.float64)
            for nominal_nm, column in zip(samples.nominal_nm.tolist(), sums.T, strict=True):
                products[nominal_nm] = products.get(nominal_nm, 0) + column
        residual = sum(power - cross**2 / squared for cross, squared, power in products.values() if squared > 0)
        if residual < least:
            factor = {
                thickness: float(thickness * s[0] / s[1]) if s[1] > 0 else 0.0 for thickness, s in products.items()
            }
            best, least = Calibration(longest_period_a, factor), residual
    return best


def make(job: Job) -> Estimator:
    """Integrated centre of mass in V Å, calibrated for each detector and dose; the mean comes from `metadata_mean`."""
    training_files, count_seed = TrainingFiles.of(job), job.arguments.seed
    mean_potential = MetadataMean(training_files)
    training = training_files.subset(_CALIBRATION_ROWS)

    @cache
    def calibration(detector: str, dose_e_per_a2: float) -> Calibration:
        shares = [
            measured_shares(samples, detector, dose_e_per_a2, seed=count_seed + 1 + number)
            for number, samples in enumerate(training)
        ]
        return calibrate(shares, training, detector)

    def estimate(samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        calibrated = calibration(detector, dose_e_per_a2)
        image = icom(shares, samples, detector, calibrated.longest_period_a)
        mean = mean_potential(samples)  # refuses a thickness that the training lacks
        factor = np.array([calibrated.factor[thickness] for thickness in samples.nominal_nm.tolist()])
        return mean[:, None, None] + factor[:, None, None] * image

    return Estimator({"fitted": estimate})
