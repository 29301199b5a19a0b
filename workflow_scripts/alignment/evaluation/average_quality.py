"""Quality of class averages: Fourier ring correlation with the clean image and of half sets, and the noise control.

The average of unprocessed images is multiplied by the mean of many contrast transfers, which changes sign. Here every
image is first multiplied by its own contrast transfer, so that the transfer of the average is nowhere negative. The
average is compared with its expectation at true poses and without noise: the clean image times the mean of the squared
transfers.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workflow_scripts.alignment.evaluation import scores
from workflow_scripts.alignment.evaluation.averages import HALF_SET_FRC, TRUTH_FRC, frc, frc_resolution, superimpose
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg
from workflow_scripts.alignment.networks.branch import resolve
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, pairwise
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.analytic import random_particle
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.alignment.simulation.labels import JOINT, LabelledStack
from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import metric_row

TRUE_POSES = "true_poses"
_BATCH = 128
# 99 %, not 95 %, since each average is compared with several particles
_NULL_QUANTILE = 0.99


@dataclass(frozen=True)
class StackAverages:
    """Averages of one stack at estimated poses.

    prediction: the poses.
    sizes: S increasing numbers of images, the last of which is the whole stack.
    transfer: (n, n//2 + 1), mean of the squared contrast transfers of all images.
    averages: (S, n, n), of as many of the first images.
    halves: (S, 2, n, n), of the two half stacks, each at poses estimated from that half alone.
    """

    prediction: scores.Prediction
    sizes: list[int]
    transfer: Tensor
    averages: Tensor
    halves: Tensor

    def expected_average(self, clean: Tensor) -> Tensor:
        """The expected average of clean images (…, n, n) at true poses and without noise."""
        return torch.fft.irfft2(torch.fft.rfft2(clean) * self.transfer, s=clean.shape[-2:])


def average_stack(prediction: scores.Prediction, sizes: Sequence[int]) -> StackAverages:
    """Averages of the first `sizes` images of a stack: at poses from the whole stack, and from each half of it."""
    stack, values = prediction.stack, prediction.values
    indices = np.arange(len(stack))
    sizes = [*sorted(size for size in sizes if size < len(stack)), len(stack)]
    averages = _running_averages(stack, indices, values["angle_deg"], values["shift_px"], sizes)
    half_sizes, half_poses = [size // 2 for size in sizes], (values["half_angle_deg"], values["half_shift_px"])
    halves = [_running_averages(stack, indices[first::2], *half_poses, half_sizes) for first in (0, 1)]
    squared = torch.stack([stack.transfer(part).square().sum(dim=0) for part in np.array_split(indices, 8)])
    return StackAverages(prediction, sizes, squared.sum(dim=0) / len(stack), averages, torch.stack(halves, dim=1))


def true_prediction(stack: LabelledStack) -> scores.Prediction:
    """The true poses as a prediction: the upper limit for any estimator."""
    angle_deg, shift_px = stack.truth()
    poses = {"angle_deg": angle_deg, "shift_px": shift_px, "half_angle_deg": angle_deg, "half_shift_px": shift_px}
    return scores.Prediction(TRUE_POSES, None, JOINT, None, stack, poses)


def resolution_a(first: Tensor, second: Tensor, threshold: float, pixel_size_a: float) -> float:
    """Period in Å down to which two superimposed images (n, n) agree; the side of the box if they agree nowhere."""
    period_px = frc_resolution(frc(superimpose(first, second), second), threshold)
    return min(period_px, float(len(second))) * pixel_size_a


def correlation(images: Tensor, reference: Tensor) -> np.ndarray:
    """Pearson correlation (N,) of images (N, n, n) with one (n, n), each rotated and shifted for the best match."""
    images, reference = images - images.mean(dim=(1, 2), keepdim=True), reference - reference.mean()
    angle = pairwise(amplitude_spectra(images), amplitude_spectra(reference[None]))
    return resolve(images, angle, reference).score.numpy()


def null_particles(box_px: int, pixel_size_a: float, settings: Evaluate) -> Tensor:
    """`null_permutations` random particles (M, n, n) that no other stage uses.

    Any average correlates with them to some extent, since all particles are bright in the middle of the box.
    """
    seeds = (10**12 + settings.seed * 10**6 + number for number in range(settings.null_permutations))
    return torch.stack([random_particle(seed, box_px, pixel_size_a).image for seed in seeds])


def quality_rows(
    averages: Sequence[StackAverages], centres: dict[str, Tensor], null_images: Tensor, settings: Evaluate
) -> list[dict]:
    """Rows of metrics.csv: resolution and correlation of averages by number of images, per particle and over all.

    Args:
        averages: of stacks of particles.
        centres: clean image (n, n) of each particle.
        null_images: of `null_particles`.
    """
    rows, groups = [], defaultdict(dict)
    for average in averages:
        prediction, stack = average.prediction, average.prediction.stack
        shared = {"noise": stack.noise, "snr": stack.snr}
        for images, values in _average_metrics(average, centres[stack.particle], null_images):
            over_all = condition(**shared, **images, **prediction.stage_condition, particle="all")
            for metric, value in values.items():
                where = shared | images | {"particle": stack.particle}
                rows.append(scores.prediction_row(prediction, metric, value, **where))
                groups[prediction.estimator, prediction.seed, over_all, metric][stack.particle] = value
    for (estimator, seed, where, metric), values in groups.items():
        interval = scores.with_interval(pd.Series(values), settings)
        rows.append(metric_row(estimator, metric, scores.UNITS[metric], interval, condition=where, seed=seed))
    return rows


def _average_metrics(
    average: StackAverages, clean: Tensor, null_images: Tensor
) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """Metrics of the averages of one stack: for each number of images, and for the whole stack without the number."""
    expected, size_a = average.expected_average(clean), average.prediction.stack.pixel_size_a
    for size, image, halves in zip(average.sizes, average.averages, average.halves, strict=True):
        values = {
            scores.RESOLUTION: resolution_a(image, expected, TRUTH_FRC, size_a),
            scores.HALF_SET_RESOLUTION: resolution_a(*halves, HALF_SET_FRC, size_a),
            scores.CORRELATION: float(correlation(image[None], expected)[0]),
        }
        yield {"images": str(size)}, values
    excess = values[scores.CORRELATION] - float(np.quantile(_null_correlations(average, null_images), _NULL_QUANTILE))
    yield {}, values | {scores.EXCESS: excess}


def control_rows(
    noise_errors: Sequence[scores.Errors],
    averages: Sequence[StackAverages],
    centres: dict[str, Tensor],
    null_images: Tensor,
    settings: Evaluate,
) -> list[dict]:
    """Rows of the pure-noise control: errors against poses that no image depends on, and correlations of averages.

    Rows with `control=null` give the chance interval (2.5 % to 97.5 %): errors against permuted poses, and correlations
    of the same average with null particles.

    Args:
        noise_errors: errors mod 180 of the pure-noise stack.
        averages: of that stack.
        centres: clean image (n, n) of each particle, which the averages should not resemble.
        null_images: of `null_particles`.
    """
    rows = []
    for errors in noise_errors:
        prediction = errors.prediction
        for control, value in (
            ("noise", float(np.mean(errors.values))),
            ("null", _permutation_interval(prediction, settings)),
        ):
            where = {"alignment": prediction.alignment, "control": control}
            rows.append(scores.prediction_row(prediction, scores.MOD180, value, "mean", **where))
    for average in averages:
        prediction, null_correlations = average.prediction, _null_correlations(average, null_images)
        rows.append(scores.prediction_row(prediction, scores.CORRELATION, _interval(null_correlations), control="null"))
        for particle, centre in centres.items():
            value = float(correlation(average.averages[-1][None], average.expected_average(centre))[0])
            excess = value - np.quantile(null_correlations, _NULL_QUANTILE)
            where = {"control": "noise", "particle": particle}
            rows.append(scores.prediction_row(prediction, scores.CORRELATION, value, **where))
            rows.append(scores.prediction_row(prediction, scores.EXCESS, excess, **where))
    return rows


def _null_correlations(average: StackAverages, null_images: Tensor) -> np.ndarray:
    """Correlations (M,) of an average with the null particles."""
    return correlation(average.expected_average(null_images), average.averages[-1])


def _permutation_interval(prediction: scores.Prediction, settings: Evaluate) -> Estimate:
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


def _running_averages(
    stack: LabelledStack, indices: np.ndarray, angle_deg: np.ndarray, shift_px: np.ndarray, sizes: Sequence[int]
) -> Tensor:
    """Averages (S, n, n) of the first images of `indices`, for each of the increasing sizes.

    angle_deg, shift_px: poses (N,) and (N, 2) of the whole stack.
    """
    n = stack.images.box_px
    total, averages = torch.zeros(n, n), []
    for done, size in zip([0, *sizes], sizes, strict=False):
        for start in range(done, size, _BATCH):
            batch_indices = indices[start : min(start + _BATCH, size)]
            images = torch.from_numpy(stack.images.read(batch_indices))
            weighted = torch.fft.irfft2(torch.fft.rfft2(images) * stack.transfer(batch_indices), s=(n, n))
            poses = (torch.from_numpy(pose[batch_indices].astype(np.float32)) for pose in (angle_deg, shift_px))
            total = total + align(weighted, *poses).sum(dim=0)
        averages.append(total / max(size, 1))
    return torch.stack(averages)
