"""Ridge deconvolution: the linear filter from the four segments to the potential, in closed form.

    potential(r) / thickness = c + Σ_s Σ_d w_s(d) image_s(r + d)

- A quarter turn of scan and specimen together turns the image of a segment into that of the next, and a mirror image of
  the specimen is as likely as the specimen: so w_s is w_0 after s quarter turns, and w_0 is symmetric about the
  bisector of its segment. An eighth of the weights is fitted.
- Filter and offset depend on the thickness by local regression, see `simulation.thickness`.
- The noise is not drawn but averaged over in closed form: counted shares have the variance image / (dose a²),
  independent from pixel to pixel, which adds to the diagonal of the normal equations and to nothing else. So one pass
  over the images serves all doses.
- The mean of an image is that of `metadata_mean`, which knows the material: on training orientations that do not fit,
  the mean absolute error is 6 % below that with the filter's own mean.
- For each detector and dose the side of the kernels, the bandwidth in thickness and the penalty are those with the
  smallest error on training orientations that do not fit.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from workflow_scripts.potential.estimators.metadata_mean import MetadataMean
from workflow_scripts.potential.settings import RidgeSettings as Options
from workflow_scripts.potential.simulation.estimation import Estimator, TrainingFiles
from workflow_scripts.potential.simulation.samples import Samples
from workflow_scripts.potential.simulation.thickness import BANDWIDTHS, SumsByThickness, names_of, near
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError

PENALTIES = tuple(10.0**k for k in range(-8, 3))  # in units of the mean variance of a feature
# More pixels of one image do not improve a filter of some hundred weights
_PIXELS = 2048


@dataclass(frozen=True)
class Choice:
    """What validation chose: side of the kernels, standard deviation in log thickness, an entry of `PENALTIES`."""

    kernel_px: int
    bandwidth: float
    penalty: float


@dataclass(frozen=True)
class Ridge:
    """A fitted filter.

    Attributes:
        kernel: float64 (4, k, k), V Å per nm and share of the electrons.
        offset: V Å per nm.
    """

    kernel: np.ndarray
    offset: float


class NormalEquations:
    """Sums over the training images of a detector by thickness."""

    def __init__(self, training: Iterable[Samples], detector: str, kernel_px: tuple[int, ...]) -> None:
        """Args: filled training samples, file by file; detector; candidates for the side of the kernels, odd.

        Raises:
            InputError: no crystal has two orientations, or the images are smaller than half a kernel.
        """
        self._largest_px, self._candidates_px = max(kernel_px), kernel_px
        self._sums = SumsByThickness(_image_sums(training, detector, self._largest_px), "ridge")

    def choose(self, electrons: float) -> Choice:
        """The settings with the smallest error on the validation orientations.

        electrons: incident on a pixel, dose · pixel area; infinite for images without noise.
        """
        errors: dict[Choice, float] = defaultdict(float)
        for kernel_px, bandwidth in product(self._candidates_px, BANDWIDTHS):
            kept = _inside(self._largest_px, kernel_px)
            for thickness_nm, validation in self._sums.validation.items():
                fit = near(thickness_nm, bandwidth, self._sums.fit)[kept]
                for penalty, solution in zip(PENALTIES, _solutions(fit, electrons, PENALTIES), strict=True):
                    choice = Choice(kernel_px, bandwidth, penalty)
                    errors[choice] += _expected_error(validation[kept], electrons, *solution)
        return min(errors, key=errors.get)

    def solve(self, electrons: float, thickness_nm: float, choice: Choice) -> Ridge:
        """The filter of a thickness, fitted on all orientations; electrons as for `choose`."""
        sums = near(thickness_nm, choice.bandwidth, self._sums.fit, self._sums.validation)
        kept = _inside(self._largest_px, choice.kernel_px)
        ((weight, offset),) = _solutions(sums[kept], electrons, [choice.penalty])
        rows, columns = np.triu_indices(choice.kernel_px)
        first = np.zeros((choice.kernel_px, choice.kernel_px))
        first[rows, columns] = first[columns, rows] = weight
        return Ridge(np.stack([np.rot90(first, segment) for segment in range(4)]), offset)


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


def _inside(largest_px: int, kernel_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the rows and columns of sums that a smaller kernel has; features are an upper triangle of offsets."""
    offsets = abs(np.stack(np.triu_indices(largest_px)) - largest_px // 2)
    return np.ix_(*[np.pad((offsets <= kernel_px // 2).all(axis=0), 1, constant_values=True)] * 2)


def _image_sums(
    training: Iterable[Samples], detector: str, kernel_px: int
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    for samples in training:
        for row in range(len(samples)):
            yield *names_of(samples, row), _sums_of(samples, row, detector, kernel_px)


def _sums_of(samples: Samples, row: int, detector: str, kernel_px: int) -> np.ndarray:
    """Σ z zᵀ over the pixels of an image, z = (1, features, target): float64 (P + 2, P + 2).

    The image is mirrored at its edges as in `apply`, so that the filter does not rely on pixels beyond. The noise of a
    mirrored pixel is treated as independent.
    """
    image = _mirrored(samples.images[detector][row], kernel_px // 2)
    windows = np.lib.stride_tricks.sliding_window_view(image, (kernel_px, kernel_px), axis=(1, 2))
    target = samples.potential[row].astype(np.float64).ravel() / samples.thickness_nm[row]
    step = -(-target.size // _PIXELS)
    chosen = np.arange(row % step, target.size, step)
    y, x = np.divmod(chosen, windows.shape[2])
    # Each pixel of a segment is in one feature, so that the features' noise is independent too
    turned = sum(np.rot90(windows[segment, y, x], -segment, axes=(1, 2)) for segment in range(4))  # (pixels, k, k)
    rows, columns = np.triu_indices(kernel_px)
    features = turned[:, rows, columns] + np.where(rows == columns, 0, turned[:, columns, rows])
    z = np.column_stack([np.ones(len(chosen)), features, target[chosen]])
    return z.T @ z


def _solutions(sums: np.ndarray, electrons: float, penalties: Iterable[float]) -> list[tuple[np.ndarray, float]]:
    """min E ‖y − x w − c‖² + λ ‖w‖² for each λ = penalty × mean variance × count, by one decomposition.

    Counted shares x have the variance x / electrons, with `electrons` per pixel.
    """
    means = sums / sums[0, 0]
    mean_x, mean_y = means[0, 1:-1], means[0, -1]
    covariance = means[1:-1, 1:-1] + np.diag(mean_x) / electrons - np.outer(mean_x, mean_x)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    projected = vectors.T @ (means[1:-1, -1] - mean_x * mean_y)
    solutions = []
    for penalty in penalties:
        weight = vectors @ (projected / (values + penalty * values.mean()))
        solutions.append((weight, float(mean_y - mean_x @ weight)))
    return solutions


def _expected_error(sums: np.ndarray, electrons: float, weight: np.ndarray, offset: float) -> float:
    """E ‖y − x w − c‖² over counted images."""
    factors = np.concatenate([[-offset], -weight, [1.0]])
    return float(factors @ sums @ factors + weight**2 @ sums[0, 1:-1] / electrons)


def make(job: Job) -> Estimator:
    """Ridge deconvolution, fitted separately for each detector, dose and thickness, since all are known."""
    options: Options = job.arguments.options
    training = TrainingFiles.of(job)
    mean_potential = MetadataMean(training)

    @cache
    def normal_equations(detector: str) -> NormalEquations:
        return NormalEquations(training.filled(), detector, options.kernel_px)

    @cache
    def choice(detector: str, electrons: float) -> Choice:
        return normal_equations(detector).choose(electrons)

    def estimate(samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        electrons = dose_e_per_a2 * samples.microscope.pixel_size_a**2
        filtered = np.empty(samples.potential.shape)
        for nominal_nm in np.unique(samples.nominal_nm):
            rows = samples.nominal_nm == nominal_nm
            thickness_nm = samples.thickness_nm[rows].mean()
            ridge = normal_equations(detector).solve(electrons, thickness_nm, choice(detector, electrons))
            filtered[rows] = apply(ridge, shares[rows], samples.thickness_nm[rows])
        return filtered + (mean_potential(samples) - filtered.mean(axis=(1, 2)))[:, None, None]

    return Estimator({"fitted": estimate})
