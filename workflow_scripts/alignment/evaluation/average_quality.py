"""How good class averages are: ring correlation with the clean image and of half sets, and the control by pure noise.

An average of the images as they are has the mean of many contrast transfers, which changes sign. Here every image is
first multiplied by its own transfer, known for synthetic images as it is estimated for real ones, so that the average
is positive wherever it shows anything; it is compared with the clean image times the mean of the squared transfers,
which it would be with true poses and without noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.evaluation.averages import HALF_SETS, TRUTH, frc, frc_resolution, superimpose
from workflow_scripts.alignment.evaluation.errors import rotation_error_deg
from workflow_scripts.alignment.evaluation.metrics import (
    CORRELATION,
    EXCESS,
    HALVES,
    MOD180,
    RESOLUTION,
    UNITS,
    Errors,
    Prediction,
    over_particles,
    prediction_row,
)
from workflow_scripts.alignment.networks.branch import resolve
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, pairwise
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.analytic import random_particle
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.alignment.simulation.imaging import ctf_tensors
from workflow_scripts.alignment.simulation.labels import JOINT, LabelledStack
from workflow_scripts.optics.ctf import ctf
from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import metric_row

TRUE_POSES = "true_poses"
_BATCH = 128
# Several particles are compared with each average, so an excess over 95 % of the null particles would prove nothing.
_LEVEL = 0.99


@dataclass(frozen=True)
class Averaged:
    """Averages of one stack at estimated poses.

    sizes: numbers of images, the last being all.
    transfer: (n, n//2 + 1), mean of the squared contrast transfers of all images.
    averages: (S, n, n) of the first images.
    halves: (S, 2, n, n) of the half stacks, each at the poses from itself alone.
    """

    prediction: Prediction
    sizes: list[int]
    transfer: Tensor
    averages: Tensor
    halves: Tensor

    def as_shown(self, clean: Tensor) -> Tensor:
        """The expected average of clean images (…, n, n) at true poses and without noise."""
        return torch.fft.irfft2(torch.fft.rfft2(clean) * self.transfer, s=clean.shape[-2:])


def averaged(prediction: Prediction, sizes: Sequence[int]) -> Averaged:
    """The averages of the first images of a stack, at the poses from the whole stack and from each half of it."""
    stack, values = prediction.stack, prediction.values
    count = len(stack)
    sizes = [*(size for size in sizes if size < count), count]
    parts = {"all": slice(0, None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
    sums = {}
    for name, part in parts.items():
        half = "" if name == "all" else "half_"
        within = [size if name == "all" else size // 2 for size in sizes]
        indices = np.arange(count)[part]
        sums[name] = _running(stack, indices, values[f"{half}angle_deg"][part], values[f"{half}shift_px"][part], within)
    transfer = torch.stack([_transfer(stack, part).square().sum(dim=0) for part in np.array_split(np.arange(count), 8)])
    halves = torch.stack([sums["even"], sums["odd"]], dim=1)
    return Averaged(prediction, sizes, transfer.sum(dim=0) / count, sums["all"], halves)


def true_prediction(stack: LabelledStack) -> Prediction:
    """The true poses as a prediction, which no estimator can beat."""
    angle_deg, shift_px = stack.truth()
    poses = {"angle_deg": angle_deg, "shift_px": shift_px, "half_angle_deg": angle_deg, "half_shift_px": shift_px}
    return Prediction(TRUE_POSES, None, JOINT, None, stack, poses)


def resolution_a(first: Tensor, second: Tensor, threshold: float, pixel_size_a: float) -> float:
    """Period in Å down to which two images (n, n) agree once one is laid on the other; the box's side where nowhere."""
    period_px = frc_resolution(frc(superimpose(first, second)[0], second), threshold)
    return min(period_px, float(len(second))) * pixel_size_a


def correlation(images: Tensor, reference: Tensor) -> np.ndarray:
    """Pearson correlation (N,) of images (N, n, n) with one (n, n), each rotated and shifted for the best match."""
    images, reference = images - images.mean(dim=(1, 2), keepdim=True), reference - reference.mean()
    angle = pairwise(amplitude_spectra(images), amplitude_spectra(reference[None]))
    return resolve(images, angle, reference).score.numpy()


def null_particles(box_px: int, pixel_size_a: float, settings: Evaluate) -> Tensor:
    """Random particles (M, n, n), `null_permutations` of them, that no stage has used.

    Any average correlates with them, because all particles are bright and in the middle.
    """
    seeds = (10**12 + settings.seed * 10**6 + number for number in range(settings.null_permutations))
    return torch.stack([random_particle(seed, box_px, pixel_size_a).image for seed in seeds])


def quality_rows(
    averages: Sequence[Averaged], centres: dict[str, Tensor], null_images: Tensor, settings: Evaluate
) -> list[dict]:
    """Resolution and correlation of the headline's averages by number of images, by particle and over the particles.

    Args:
        averages: of stacks of particles.
        centres: clean image (n, n) of each particle.
        null_images: of `null_particles`.
    """
    rows: list[dict] = []
    groups: dict[tuple, list[float]] = {}
    for average in averages:
        prediction, stack = average.prediction, average.prediction.stack
        shared = {"noise": stack.noise, "snr": stack.snr}
        for images, values in _qualities(average, centres[stack.particle], null_images):
            over_all = condition(**shared, **images, **prediction.stage_condition, particle="all")
            for metric, value in values.items():
                rows.append(prediction_row(prediction, metric, value, **shared, **images, particle=stack.particle))
                groups.setdefault((prediction.estimator, prediction.seed, over_all, metric), []).append(value)
    for (estimator, seed, where, metric), values in groups.items():
        interval = over_particles(np.array(values), settings)
        rows.append(metric_row(estimator, metric, UNITS[metric], interval, condition=where, seed=seed))
    return rows


def _qualities(
    average: Averaged, clean: Tensor, null_images: Tensor
) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """Metrics of the averages of one stack by number of images; those of all images again, without their number."""
    expected, size_a = average.as_shown(clean), average.prediction.stack.pixel_size_a
    for place, size in enumerate(average.sizes):
        values = {
            RESOLUTION: resolution_a(average.averages[place], expected, TRUTH, size_a),
            HALVES: resolution_a(*average.halves[place], HALF_SETS, size_a),
            CORRELATION: float(correlation(average.averages[place][None], expected)[0]),
        }
        yield {"images": str(size)}, values
    excess = values[CORRELATION] - float(np.quantile(_null_correlations(average, null_images), _LEVEL))
    yield {}, values | {EXCESS: excess}


def control_rows(
    noise_errors: Sequence[Errors],
    averages: Sequence[Averaged],
    centres: dict[str, Tensor],
    null_images: Tensor,
    settings: Evaluate,
) -> list[dict]:
    """The control by pure noise: errors against poses that no image depends on, and correlations of the averages.

    Beside each stands the interval (2.5 % to 97.5 %) of permuted poses, or of the same average with null particles.

    Args:
        noise_errors: errors mod 180 of the stack of pure noise.
        averages: of that stack.
        centres: clean image (n, n) of each particle, which the averages should not resemble.
        null_images: of `null_particles`.
    """
    rows = []
    for errors in noise_errors:
        prediction = errors.prediction
        shared = {"statistic": "mean", "alignment": prediction.alignment}
        for control, value in (("noise", float(np.mean(errors.values))), ("null", _permuted(prediction, settings))):
            rows.append(prediction_row(prediction, MOD180, value, **shared, control=control))
    for average in averages:
        prediction, by_chance = average.prediction, _null_correlations(average, null_images)
        rows.append(prediction_row(prediction, CORRELATION, _interval(by_chance), control="null"))
        for particle, centre in centres.items():
            value = float(correlation(average.averages[-1][None], average.as_shown(centre))[0])
            where = {"control": "noise", "particle": particle}
            rows.append(prediction_row(prediction, CORRELATION, value, **where))
            rows.append(prediction_row(prediction, EXCESS, value - np.quantile(by_chance, _LEVEL), **where))
    return rows


def _null_correlations(average: Averaged, null_images: Tensor) -> np.ndarray:
    """Correlations (M,) of an average with the null particles."""
    return correlation(average.as_shown(null_images), average.averages[-1])


def _permuted(prediction: Prediction, settings: Evaluate) -> Estimate:
    """Mean error mod 180 of an estimator's angles against permutations of the true ones."""
    true_deg, _ = prediction.stack.truth()
    rng = np.random.default_rng(settings.seed)
    jointly = prediction.alignment == JOINT
    estimate_deg = prediction.values["angle_deg" if jointly else "pair_deg"]
    means = []
    for _ in range(settings.null_permutations):
        permuted_deg = rng.permutation(true_deg)
        reference_deg = permuted_deg if jointly else permuted_deg[:-1] - permuted_deg[1:]
        means.append(rotation_error_deg(estimate_deg, reference_deg, 180.0, relative=not jointly).mean())
    return _interval(np.array(means))


def _interval(values: np.ndarray) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def _running(
    stack: LabelledStack, indices: np.ndarray, angle_deg: np.ndarray, shift_px: np.ndarray, sizes: Sequence[int]
) -> Tensor:
    """Averages (S, n, n) of the first images that `indices` name, for each of the sizes."""
    n = stack.images.box_px
    total, done, averages = torch.zeros(n, n), 0, []
    for size in sizes:
        while done < size:
            part = slice(done, min(done + _BATCH, size))
            images = torch.from_numpy(stack.images.read(indices[part]))
            weighted = torch.fft.irfft2(torch.fft.rfft2(images) * _transfer(stack, indices[part]), s=(n, n))
            angle, shift = (torch.from_numpy(np.asarray(pose[part], np.float32)) for pose in (angle_deg, shift_px))
            total = total + align(weighted, angle, shift).sum(dim=0)
            done = part.stop
        averages.append(total / max(done, 1))
    return torch.stack(averages)


def _transfer(stack: LabelledStack, indices: np.ndarray) -> Tensor:
    """Contrast transfer (k, n, n//2 + 1) of these images."""
    return ctf(stack.images.box_px, stack.pixel_size_a, **ctf_tensors(stack.contrast().subset(indices))).float()
