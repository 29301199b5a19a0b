"""Integrated centre of mass (iCOM) of four segments: the image whose gradient is the deflection of the beam.

In a thin specimen the mean momentum of the electrons is the gradient of the phase under the probe, so its integral is
the phase, smeared by the probe (doi:10.1016/j.ultramic.2015.10.011; with four segments doi:10.1038/ncomms15123).
Segments measure the momentum only roughly, and a thick specimen is no phase object. A Wiener filter converts the image
to V Å: in every band of spatial frequencies the factor <V I> / <I²> of potential V and noisy image I over training
images, which undoes the smearing where the signal exceeds the noise and damps the rest. The factors depend on detector,
dose and, by local regression, on thickness (see `simulation.thickness`); the bandwidth is that with the smallest error
on training orientations that do not fit. The mean cannot be measured and comes from the labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy.fft import dctn, idctn

from workflow_scripts.potential.estimators.metadata_mean import MetadataMean
from workflow_scripts.potential.simulation.counting import measured_shares
from workflow_scripts.potential.simulation.estimation import Estimator, TrainingFiles
from workflow_scripts.potential.simulation.samples import Samples
from workflow_scripts.potential.simulation.thickness import BANDWIDTHS, SumsByThickness, names_of, near
from workflow_scripts.workflow.command import Job

BAND_PER_A = 0.06  # width of a band of spatial frequencies, Å⁻¹
# The factors are fitted on at most this many images, of all training files together.
_CALIBRATION_ROWS = 500


@dataclass(frozen=True)
class WienerFilter:
    """From iCOM to a potential.

    Attributes:
        sums: float64 (3, bands): Σ V I, Σ I² and Σ V² with V in V Å per nm of thickness.
        bandwidth: standard deviation of the weights of training images, in the logarithm of the thickness.
    """

    sums: SumsByThickness
    bandwidth: float

    def factors(self, thickness_nm: float) -> np.ndarray:
        """V Å per nm and mrad Å of each band, (bands,)."""
        return _factors(near(thickness_nm, self.bandwidth, self.sums.fit, self.sums.validation))

    def __call__(self, image: np.ndarray, thickness_nm: float, pixel_size_a: float) -> np.ndarray:
        """The mean-free potential (N, H, W), V Å, of iCOM (N, H, W) at one thickness."""
        spectrum = dctn(image, axes=(1, 2), norm="ortho")
        filtered = spectrum * self.factors(thickness_nm)[_bands(image.shape[1:], pixel_size_a)]
        return thickness_nm * idctn(filtered, axes=(1, 2), norm="ortho")


def segment_centroids_mrad(inner_mrad: float, outer_mrad: float) -> np.ndarray:
    """Centroids [y, x] of the four segments of a ring, (4, 2): segment s covers the azimuths 90° s to 90° (s + 1)."""
    radius = 2 / 3 * (outer_mrad**3 - inner_mrad**3) / (outer_mrad**2 - inner_mrad**2)
    radius *= np.sin(np.pi / 4) / (np.pi / 4)
    azimuth = np.radians(45 + 90 * np.arange(4))
    return radius * np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)


def center_of_mass_mrad(shares: np.ndarray, ring_mrad: tuple[float, float]) -> np.ndarray:
    """Mean deflection [y, x] (N, 2, H, W), mrad, of shares (N, 4, H, W) of the incident electrons."""
    return np.einsum("nshw,sd->ndhw", shares.astype(np.float64), segment_centroids_mrad(*ring_mrad))


def integrate(gradient: np.ndarray, pixel_size_a: float) -> np.ndarray:
    """The mean-free image whose gradient is closest to the given field, by Fourier series of the mirrored image.

    An image that is continued by its mirror image has no jump at its edges.

    Args:
        gradient: (N, 2, H, W) [y, x], per Å.
        pixel_size_a: Å.

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
    squared[0, 0] = np.inf
    # A wave at Nyquist has no slope on the raster
    wave_y[height], wave_x[width] = 0, 0
    divergence = 1j * (wave_y * np.fft.rfft2(parts[0]) + wave_x * np.fft.rfft2(parts[1]))
    image = np.fft.irfft2(-divergence / squared, s=parts[0].shape[1:])[:, :height, :width]
    return image - image.mean(axis=(1, 2), keepdims=True)


def icom(shares: np.ndarray, samples: Samples, detector: str) -> np.ndarray:
    """iCOM (N, H, W), mrad Å, mean-free, of measured shares (N, 4, H, W).

    A mean deflection comes from a tilt of the crystal and is removed; a periodic potential has none.
    """
    deflection = center_of_mass_mrad(shares, samples.microscope.ring_mrad[detector])
    deflection -= deflection.mean(axis=(2, 3), keepdims=True)
    return integrate(deflection, samples.microscope.pixel_size_a)


def calibrate(shares: Sequence[np.ndarray], training: Sequence[Samples], detector: str) -> WienerFilter:
    """The filter that fits the mean-free potentials of training samples best.

    Args:
        shares: for each part of the training samples the shares measured at one dose, (N, 4, H, W).
        training: the parts.
        detector: `ring` or `matched`.

    Raises:
        InputError: no crystal has two orientations.
    """
    sums = SumsByThickness(image_sums(shares, training, detector), "icom")
    errors = validation_errors(sums)
    return WienerFilter(sums, min(errors, key=errors.get))


def validation_errors(sums: SumsByThickness) -> dict[float, float]:
    """Σ (V − factor I)² over the validation orientations, by bandwidth in thickness."""
    errors = dict.fromkeys(BANDWIDTHS, 0.0)
    for bandwidth, (thickness_nm, part) in product(BANDWIDTHS, sums.validation.items()):
        cross, squared, power = part
        factors = _factors(near(thickness_nm, bandwidth, sums.fit))
        errors[bandwidth] += (power - 2 * factors * cross + factors**2 * squared).sum()
    return errors


def image_sums(
    shares: Sequence[np.ndarray], training: Sequence[Samples], detector: str
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Names and sums (3, bands) of each training image, as `SumsByThickness` takes them."""
    for measured, samples in zip(shares, training, strict=True):
        image = dctn(icom(measured, samples, detector), axes=(1, 2), norm="ortho")
        # Divided by thickness: a thick sample must not outweigh all others
        target = dctn(samples.potential / samples.thickness_nm[:, None, None], axes=(1, 2), norm="ortho")
        bands = _bands(image.shape[1:], samples.microscope.pixel_size_a).ravel()
        for row, (i, v) in enumerate(zip(image, target, strict=True)):
            sums = [np.bincount(bands, weights=product.ravel()) for product in (v * i, i * i, v * v)]
            yield *names_of(samples, row), np.stack(sums)


def _bands(shape: tuple[int, int], pixel_size_a: float) -> np.ndarray:
    """The band of each coefficient of a cosine transform, int (H, W); band 0 is the mean alone."""
    y, x = (np.arange(side) / (2 * side * pixel_size_a) for side in shape)
    return np.ceil(np.hypot(y[:, None], x) / BAND_PER_A).astype(int)


def _factors(sums: np.ndarray) -> np.ndarray:
    """Σ V I / Σ I², 0 for the mean and where no image has anything."""
    factors = np.divide(sums[0], sums[1], out=np.zeros(sums.shape[1]), where=sums[1] > 0)
    factors[0] = 0
    return factors


def make(job: Job) -> Estimator:
    """Integrated centre of mass in V Å, filtered for each detector, dose and thickness; the mean of `metadata_mean`."""
    training_files, count_seed = TrainingFiles.of(job), job.arguments.seed
    mean_potential = MetadataMean(training_files)
    training = training_files.subset(_CALIBRATION_ROWS)

    @cache
    def calibration(detector: str, dose_e_per_a2: float) -> WienerFilter:
        shares = [
            measured_shares(samples, detector, dose_e_per_a2, seed=count_seed + 1 + number)
            for number, samples in enumerate(training)
        ]
        return calibrate(shares, training, detector)

    def estimate(samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        wiener = calibration(detector, dose_e_per_a2)
        image = icom(shares, samples, detector)
        potential = np.tile(mean_potential(samples)[:, None, None], (1, *image.shape[1:]))
        for row, thickness_nm in enumerate(samples.thickness_nm.tolist()):
            potential[row] += wiener(image[row : row + 1], thickness_nm, samples.microscope.pixel_size_a)[0]
        return potential

    return Estimator({"fitted": estimate})
