"""How far a potential is from the truth, image by image. Nothing is normalised by an image's own extremes.

| name | unit | meaning |
|---|---|---|
| psnr_db_range_gt | dB | 20 lg(peak / RMSE) with the peak of the truth itself |
| psnr_db_range_600000 | dB | the same with the recipe's range of 600,000 V Å in place of the peak |
| mae_volt_angstrom | V Å | mean absolute error |
| pearson | 1 | correlation over the pixels; 0 where the prediction is constant |
| pearson_highpass_1.2A | 1 | the same of the periods below 1.2 Å alone, the images mirrored at their edges |
| peak_error_percent | % | mean absolute error over mean truth on the highest 0.5 % of the truth's pixels |
| mean_bias_percent | % | relative error of the mean |
| mean_bias_abs_percent | % | its modulus, so that biases of different samples do not cancel |
| column_position_error_pm | pm | median distance from each column of the truth to the nearest of the prediction |
| column_recall | 1 | share of true columns with a predicted one within half the distance of neighbours |

Columns are local maxima of the image band-limited at 2α/λ that rise above a quarter of the way from its mean to its
peak, in truth and prediction alike, fitted by parabolas; light columns beside heavy ones do not rise so far. A missed
column counts as an error of half the distance of neighbours, the largest error that a found column can have.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

PUBLISHED_RANGE_VA = 600_000.0
HIGHPASS_PERIOD_A = 1.2
PEAK_SHARE = 0.005
COLUMN_RISE = 0.25
UNITS = {
    "psnr_db_range_gt": "dB",
    "psnr_db_range_600000": "dB",
    "mae_volt_angstrom": "V Å",
    "pearson": "1",
    "pearson_highpass_1.2A": "1",
    "peak_error_percent": "%",
    "mean_bias_percent": "%",
    "mean_bias_abs_percent": "%",
    "column_position_error_pm": "pm",
    "column_recall": "1",
}
# A contrast below this share of an image's RMS is rounding
_ROUNDING = 1e-6
_PM_PER_A = 100.0


@dataclass(frozen=True)
class TrueImage:
    """A true potential with the quantities that every comparison uses.

    potential: (H, W), V Å.
    detail: (H, W), its periods below 1.2 Å.
    highest: flat indices of its highest 0.5 % of pixels.
    columns_a: (C, 2) [y, x] from pixel [0, 0], Å.
    neighbour_a: median distance of a column to its nearest neighbour, Å; NaN below two columns.
    limit_per_a: 2α/λ, Å⁻¹.
    """

    potential: np.ndarray
    detail: np.ndarray
    highest: np.ndarray
    columns_a: np.ndarray
    neighbour_a: float
    pixel_size_a: float
    limit_per_a: float

    @classmethod
    def of(cls, potential: np.ndarray, pixel_size_a: float, limit_per_a: float) -> "TrueImage":
        """Args: (H, W), V Å; side of a pixel, Å; frequency to which an image of the microscope reaches, Å⁻¹.

        Raises:
            ValueError: the potential is nowhere positive.
        """
        potential = potential.astype(np.float64)
        if not potential.max() > 0:
            raise ValueError("a true potential that is nowhere positive has no peak to compare with")
        columns = column_positions_a(potential, pixel_size_a, limit_per_a)
        spacing = np.nan
        if len(columns) > 1:
            spacing = float(np.median(cKDTree(columns).query(columns, k=2)[0][:, 1]))
        n_highest = max(1, round(PEAK_SHARE * potential.size))
        return cls(
            potential,
            high_pass(potential, pixel_size_a, HIGHPASS_PERIOD_A),
            np.argsort(potential, axis=None, kind="stable")[-n_highest:],
            columns,
            spacing,
            pixel_size_a,
            limit_per_a,
        )


def compare(predicted: np.ndarray, truth: TrueImage) -> dict[str, float]:
    """All metrics of a predicted potential (H, W), V Å; those of columns are NaN where the truth has fewer than two."""
    predicted, true = predicted.astype(np.float64), truth.potential
    difference = predicted - true
    peak = float(true.max())
    # At least the precision of float32, so that a perfect prediction has a finite PSNR
    rmse = max(float(np.sqrt(np.mean(difference**2))), 1e-7 * peak)
    rms = float(np.sqrt(np.mean(predicted**2)))
    highest = truth.highest
    bias = float(predicted.mean() / true.mean() - 1)
    error_pm, recall = _columns(predicted, truth)
    return {
        "psnr_db_range_gt": 20 * np.log10(peak / rmse),
        "psnr_db_range_600000": 20 * np.log10(PUBLISHED_RANGE_VA / rmse),
        "mae_volt_angstrom": float(np.mean(np.abs(difference))),
        "pearson": _correlation(predicted, true, rms),
        "pearson_highpass_1.2A": _correlation(
            high_pass(predicted, truth.pixel_size_a, HIGHPASS_PERIOD_A), truth.detail, rms
        ),
        "peak_error_percent": float(100 * np.abs(difference.flat[highest]).mean() / np.abs(true.flat[highest]).mean()),
        "mean_bias_percent": 100 * bias,
        "mean_bias_abs_percent": 100 * abs(bias),
        "column_position_error_pm": error_pm,
        "column_recall": recall,
    }


def high_pass(image: np.ndarray, pixel_size_a: float, longest_period_a: float) -> np.ndarray:
    """The periods of an image (H, W) below the given one, Å; the image is mirrored at its edges, without a jump."""
    return _in_band(image, pixel_size_a, 1 / longest_period_a, np.inf)


def column_positions_a(image: np.ndarray, pixel_size_a: float, limit_per_a: float) -> np.ndarray:
    """Columns (C, 2) [y, x] of a potential (H, W), Å from pixel [0, 0]; see the docstring of the module."""
    limited = _in_band(image, pixel_size_a, 0.0, limit_per_a)
    mean, peak = limited.mean(), limited.max()
    if peak - mean <= _ROUNDING * abs(peak):
        return np.zeros((0, 2))
    inner = limited[1:-1, 1:-1]  # a maximum on the rim may lie outside
    above = (inner == maximum_filter(limited, 3)[1:-1, 1:-1]) & (inner > mean + COLUMN_RISE * (peak - mean))
    y, x = (index + 1 for index in np.nonzero(above))
    places = []
    for at, lower, upper in ((y, (y - 1, x), (y + 1, x)), (x, (y, x - 1), (y, x + 1))):
        slope, bend = limited[upper] - limited[lower], 2 * limited[y, x] - limited[upper] - limited[lower]
        places.append(at + np.divide(slope, 2 * bend, out=np.zeros(len(at)), where=bend > 0))
    return np.stack(places, axis=1) * pixel_size_a


def _columns(predicted: np.ndarray, truth: TrueImage) -> tuple[float, float]:
    """Median distance of the columns, pm, and their recall."""
    if not np.isfinite(truth.neighbour_a):
        return np.nan, np.nan
    half_a = truth.neighbour_a / 2
    columns = column_positions_a(predicted, truth.pixel_size_a, truth.limit_per_a)
    if not len(columns):
        return _PM_PER_A * half_a, 0.0
    distance_a, _ = cKDTree(columns).query(truth.columns_a)
    return _PM_PER_A * float(np.median(np.minimum(distance_a, half_a))), float(np.mean(distance_a <= half_a))


def _in_band(image: np.ndarray, pixel_size_a: float, low_per_a: float, high_per_a: float) -> np.ndarray:
    """The part of an image (H, W) with frequencies low ≤ |q| < high, by its cosine series."""
    y, x = (np.arange(side) / (2 * side * pixel_size_a) for side in image.shape)
    frequency = np.hypot(y[:, None], x)
    spectrum = dctn(image.astype(np.float64), norm="ortho")
    return idctn(np.where((frequency >= low_per_a) & (frequency < high_per_a), spectrum, 0), norm="ortho")


def _correlation(first: np.ndarray, second: np.ndarray, rms: float) -> float:
    """Pearson correlation; 0 if either has no contrast. rms: of the image from which the first was made."""
    first, second = first - first.mean(), second - second.mean()
    powers = np.mean(first**2), np.mean(second**2)
    if np.sqrt(powers[0]) <= _ROUNDING * rms or powers[1] == 0:
        return 0.0
    return float(np.mean(first * second) / np.sqrt(powers[0] * powers[1]))
