"""Ridge deconvolution: the linear filter from the four segments to the potential, in closed form.

    potential(r) / thickness = c + Σ_s Σ_d w_s(d) image_s(r + d)

The noise is not drawn but averaged over in closed form: counted shares have the variance image / (dose a²), independent
from pixel to pixel, which adds to the diagonal of the normal equations and to nothing else. So one pass over the images
serves all doses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from workflow_scripts.potential.settings import RidgeSettings as Options
from workflow_scripts.potential.simulation.estimation import Estimator, TrainingFiles
from workflow_scripts.potential.simulation.samples import Samples
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError

PENALTIES = tuple(10.0**k for k in range(-8, 1))  # in units of the mean variance of a feature
# More pixels of one image do not improve a filter of some thousand weights
_PIXELS = 2048
_VALIDATION_STEP = 5  # of every five orientations of a crystal the second is used to choose the penalty


@dataclass(frozen=True)
class Ridge:
    """A fitted filter.

    Attributes:
        kernel: float64 (4, k, k), V Å per nm and share of the electrons.
        offset: V Å per nm.
        penalty: an entry of `PENALTIES`.
    """

    kernel: np.ndarray
    offset: float
    penalty: float


@dataclass
class _Sums:
    """Sums over pixels: of features x (P,), of targets y, and of their products."""

    count: int
    x: np.ndarray
    y: float
    xx: np.ndarray
    xy: np.ndarray
    yy: float

    @classmethod
    def zeros(cls, n_features: int) -> "_Sums":
        row = np.zeros(n_features)
        return cls(0, row, 0.0, np.zeros((n_features, n_features)), row, 0.0)

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def noisy(self, electrons: float) -> np.ndarray:
        """Expectation of Σ x xᵀ for counted shares, whose variance is x / electrons, with `electrons` per pixel."""
        return self.xx + np.diag(self.x) / electrons


class NormalEquations:
    """Sums over the training images of a detector, separate for images that fit and images that choose the penalty."""

    def __init__(self, training: Iterable[Samples], detector: str, kernel_px: int) -> None:
        """Args: filled training samples, file by file; detector; side of the kernels, odd.

        Raises:
            InputError: no crystal has two orientations, or the images are smaller than half a kernel.
        """
        self._kernel_px = kernel_px
        parts = [_Sums.zeros(4 * kernel_px**2) for _ in (0, 1)]
        orientations: dict[str, list[str]] = {}
        for samples in training:
            for row in range(len(samples)):
                specimens = orientations.setdefault(str(samples.material[row]), [])
                if samples.specimen[row] not in specimens:
                    specimens.append(samples.specimen[row])
                part = int(specimens.index(samples.specimen[row]) % _VALIDATION_STEP == 1)
                parts[part] += _sums_of(samples, row, detector, kernel_px)
        if not parts[1].count:
            raise InputError(
                "ridge needs two orientations of a crystal in the training files, but every crystal has a single one;"
                " raise orientations or train_shards of potential.synthesize"
            )
        self._fit, self._validation = parts

    def solve(self, electrons: float) -> Ridge:
        """The filter with the smallest error on the validation orientations, refitted on all of them.

        electrons: incident on a pixel, dose · pixel area; infinite for images without noise.
        """
        candidates = _solutions(self._fit, electrons, PENALTIES)
        errors = [_expected_error(self._validation, electrons, weight, offset) for weight, offset in candidates]
        penalty = PENALTIES[int(np.argmin(errors))]
        ((weight, offset),) = _solutions(self._fit + self._validation, electrons, [penalty])
        return Ridge(weight.reshape(4, self._kernel_px, self._kernel_px), offset, penalty)


def apply(ridge: Ridge, shares: np.ndarray, thickness_nm: np.ndarray) -> np.ndarray:
    """Potential (N, H, W), V Å, of measured shares (N, 4, H, W) at thicknesses (N,), mirrored at the image edges."""
    from scipy.signal import fftconvolve  # here, because its import is slow and the fit does not need it

    padded = _mirrored(shares, ridge.kernel.shape[-1] // 2)
    flipped = ridge.kernel[None, :, ::-1, ::-1]
    filtered = fftconvolve(padded, flipped, mode="valid", axes=(2, 3)).sum(axis=1)
    return (filtered + ridge.offset) * thickness_nm[:, None, None]


def _mirrored(images: np.ndarray, reach: int) -> np.ndarray:
    """Images (..., H, W) in float64, continued by `reach` pixels of their mirror image.

    Raises:
        InputError: they are smaller than that.
    """
    if min(images.shape[-2:]) <= reach:
        raise InputError(
            f"images of {images.shape[-2]} x {images.shape[-1]} pixels are too small for kernels of {2 * reach + 1};"
            " lower potential.predict.ridge.kernel_px"
        )
    padding_px = [(0, 0)] * (images.ndim - 2) + [(reach, reach)] * 2
    return np.pad(images.astype(np.float64), padding_px, mode="reflect")


def _sums_of(samples: Samples, row: int, detector: str, kernel_px: int) -> _Sums:
    """Sums over the pixels of an image, mirrored at its edges as in `apply`, so that the filter does not rely on pixels
    beyond. The noise of a mirrored pixel is treated as independent."""
    image = _mirrored(samples.images[detector][row], kernel_px // 2)
    windows = np.lib.stride_tricks.sliding_window_view(image, (kernel_px, kernel_px), axis=(1, 2))
    target = samples.potential[row].astype(np.float64).ravel() / samples.thickness_nm[row]
    step = -(-target.size // _PIXELS)
    chosen = np.arange(row % step, target.size, step)
    y, x = np.divmod(chosen, windows.shape[2])
    features = windows[:, y, x].transpose(1, 0, 2, 3).reshape(len(chosen), -1)  # (pixels, 4 k²)
    target = target[chosen]
    return _Sums(
        len(chosen),
        features.sum(axis=0),
        float(target.sum()),
        features.T @ features,
        features.T @ target,
        float(target @ target),
    )


def _solutions(sums: _Sums, electrons: float, penalties: Iterable[float]) -> list[tuple[np.ndarray, float]]:
    """min E ‖y − x w − c‖² + λ ‖w‖² for each λ = penalty × mean variance × count, by one decomposition."""
    mean_x, mean_y = sums.x / sums.count, sums.y / sums.count
    covariance = sums.noisy(electrons) / sums.count - np.outer(mean_x, mean_x)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    projected = vectors.T @ (sums.xy / sums.count - mean_x * mean_y)
    solutions = []
    for penalty in penalties:
        weight = vectors @ (projected / (values + penalty * values.mean()))
        solutions.append((weight, float(mean_y - mean_x @ weight)))
    return solutions


def _expected_error(sums: _Sums, electrons: float, weight: np.ndarray, offset: float) -> float:
    """E ‖y − x w − c‖² over counted images."""
    squares = sums.yy + weight @ sums.noisy(electrons) @ weight + offset**2 * sums.count
    return float(squares - 2 * (weight @ sums.xy + offset * sums.y - offset * (weight @ sums.x)))


def make(job: Job) -> Estimator:
    """Ridge deconvolution, fitted separately for each detector and dose, since both are known."""
    options: Options = job.arguments.options
    training = TrainingFiles.of(job)

    @cache
    def normal_equations(detector: str) -> NormalEquations:
        return NormalEquations(training.filled(), detector, options.kernel_px)

    def estimate(samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        electrons = dose_e_per_a2 * samples.microscope.pixel_size_a**2
        return apply(normal_equations(detector).solve(electrons), shares, samples.thickness_nm)

    return Estimator({"fitted": estimate})
