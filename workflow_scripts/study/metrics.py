"""Metrics with their gauge in their name, and the spectral transfer from a true image to its reconstruction.

Over the frequencies k of a ring, with F and G the spectra of reconstruction and truth:

    transfer   T = Re Σ F G* / Σ |G|²          1 is perfect; unrelated noise does not count
    SSNR         = Σ |G|² / Σ |F − G|²         spectral signal-to-noise ratio against the truth
    FRC          = Re Σ F G* / √(Σ|F|² Σ|G|²)  Fourier ring correlation,
                                               doi:10.1111/j.1365-2818.1982.tb00405.x

An image (H, W) may hold NaN where nothing was measured. The means of both images are removed, and both are weighted
by one Hann window over the box of the covered pixels, so neither the gauge nor the edges count.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow_scripts.workflow.errors import InputError


def patch_misfit(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Σ (predicted − true)² and Σ true² of each patch, (N, 2), every patch mean-free.

    predicted, true: (N, K) rad, the K pixels of each patch that lie in the mask.
    """
    if predicted.shape != true.shape or predicted.ndim != 2:
        raise InputError(f"Predicted and true patches are {predicted.shape} and {true.shape}; expected (N, K) both.")
    predicted, true = (pixels.astype(np.float64) for pixels in (predicted, true))
    predicted, true = (pixels - pixels.mean(1, keepdims=True) for pixels in (predicted, true))
    return np.stack([((predicted - true) ** 2).sum(1), (true**2).sum(1)], axis=1)


def patch_r2(misfit: np.ndarray) -> np.ndarray:
    """1 − Σ (predicted − true)² / Σ true² of each row of `patch_misfit`, (N,): zeros give 0.

    The R² of all patches is the mean of these, weighted by Σ true².
    """
    error, power = misfit.T
    if not (power > 0).all():
        raise InputError("The true patches have no contrast, so R² means nothing; use other test objects.")
    return 1 - error / power


def phase_rmse_rad_meanfree(image: np.ndarray, truth: np.ndarray) -> float:
    """RMS of image − truth (H, W) after subtracting its mean, rad, over the pixels that both cover (not NaN)."""
    if image.shape != truth.shape:
        raise InputError(f"Image and truth are {image.shape} and {truth.shape}; expected one shape (H, W).")
    difference = (image - truth).astype(np.float64)
    difference = difference[np.isfinite(difference)]
    if difference.size == 0:
        raise InputError("Image and truth share no covered pixel; compare what was measured.")
    return float(difference.std())


def root_mean_square(values: np.ndarray) -> float:
    """√⟨x²⟩ of values (N,)."""
    return float(np.sqrt(np.mean(np.square(values))))


@dataclass(frozen=True)
class Spectra:
    """The windowed spectra of two images on the same frequencies.

    first, second: (h, w) complex.
    frequency: (h, w) cycles per pixel.
    length: the shorter side of the covered box in pixels; 1/length is the width of a ring.
    """

    first: np.ndarray
    second: np.ndarray
    frequency: np.ndarray
    length: int

    def ring(self, low: float, high: float) -> tuple[float, float, float, float]:
        """Re Σ F G*, Σ|F|², Σ|G|² and Σ|F − G|² over low ≤ k < high, cycles per pixel."""
        inside = (self.frequency >= low) & (self.frequency < high)
        first, second = self.first[inside], self.second[inside]
        return (
            float(np.sum((first * second.conj()).real)),
            float(np.sum(np.abs(first) ** 2)),
            float(np.sum(np.abs(second) ** 2)),
            float(np.sum(np.abs(first - second) ** 2)),
        )


def windowed_spectra(first: np.ndarray, second: np.ndarray) -> Spectra:
    """Spectra of two images (H, W) over what both cover.

    Raises InputError where the shapes differ or fewer than 4 × 4 pixels are left.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise InputError(f"The images to compare are {first.shape} and {second.shape}; expected one shape (H, W).")
    covered = np.isfinite(first) & np.isfinite(second)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    if min(len(rows), len(columns)) < 4:
        raise InputError("The two images share fewer than 4 × 4 covered pixels; compare what was measured.")
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    covered = covered[box]
    height, width = covered.shape
    # A Hann window that is not yet zero at the outermost pixels.
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]) * covered
    spectra = []
    for image in (first, second):
        values = np.where(covered, image[box], 0.0).astype(np.float64)
        spectra.append(np.fft.fft2(window * (values - (window * values).sum() / window.sum())))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    return Spectra(spectra[0], spectra[1], frequency, min(height, width))


def radial_transfer(reconstruction: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """T, SSNR and FRC ring by ring: columns period_px, frequency_per_px, transfer, ssnr, frc.

    Rings are one over the image's length wide, from the second (two periods in the image) to Nyquist.
    """
    spectra = windowed_spectra(reconstruction, truth)
    rows = []
    for index in range(2, spectra.length // 2 + 1):
        cross, power, true_power, error = spectra.ring((index - 0.5) / spectra.length, (index + 0.5) / spectra.length)
        rows.append(
            {
                "period_px": spectra.length / index,
                "frequency_per_px": index / spectra.length,
                "transfer": _ratio(cross, true_power),
                "ssnr": _ratio(true_power, error),
                "frc": _ratio(cross, np.sqrt(power * true_power)),
            }
        )
    return pd.DataFrame(rows)


def transfer_at_period(reconstruction: np.ndarray, truth: np.ndarray, period_px: float) -> float:
    """T in the one ring around a period; NaN where the images are shorter than two periods."""
    spectra = windowed_spectra(reconstruction, truth)
    if period_px > spectra.length / 2:
        return float("nan")
    half = 0.5 / spectra.length
    cross, _, true_power, _ = spectra.ring(1 / period_px - half, 1 / period_px + half)
    return _ratio(cross, true_power)


def transfer_in_band(reconstruction: np.ndarray, truth: np.ndarray, shortest_px: float, longest_px: float) -> float:
    """T over the periods shortest_px < period ≤ longest_px; NaN where the images hold none of them."""
    cross, _, true_power, _ = windowed_spectra(reconstruction, truth).ring(1 / longest_px, 1 / shortest_px)
    return _ratio(cross, true_power)


def fourier_ring_correlation(first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    """FRC of two independent images of one object, such as two half-scans, by period_px and frequency_per_px."""
    return radial_transfer(first, second)[["period_px", "frequency_per_px", "frc"]]


def _ratio(numerator: float, denominator: float) -> float:
    """The quotient: NaN for 0 / 0, infinite for other divisions by 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(numerator) / np.float64(denominator))
