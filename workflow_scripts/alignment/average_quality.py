"""How good class averages are: ring correlation with the clean image and of half sets, and the control by pure noise.

An average of the images as they are has the mean of many contrast transfers, which changes sign. Here every image is
first multiplied by its own transfer, known for synthetic images as it is estimated for real ones, so that the average
is positive wherever it shows anything; it is compared with the clean image times the mean of the squared transfers,
which it would be with true poses and without noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.analytic import random_particle
from workflow_scripts.alignment.averages import HALF_SETS, TRUTH, frc, frc_resolution, superimpose
from workflow_scripts.alignment.branch import resolve
from workflow_scripts.alignment.errors import rotation_error_deg
from workflow_scripts.alignment.evaluation import MOD180, UNITS, Answer, Errors, over_particles
from workflow_scripts.alignment.geometry import align
from workflow_scripts.alignment.labels import JOINT, LabelledStack
from workflow_scripts.alignment.polar_alignment import amplitude_spectra, pairwise
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.optics.ctf import ctf
from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import metric_row

RESOLUTION, HALVES, CORRELATION, EXCESS = (
    *("frc_resolution_a", "frc_half_set_resolution_a"),
    *("average_correlation", "average_correlation_over_null"),
)
UNITS_OF_AVERAGES = {RESOLUTION: "Å", HALVES: "Å", CORRELATION: "1", EXCESS: "1"}
TRUE_POSES = "true_poses"
_BATCH = 128
# Several particles are compared with each average, so a single one of twenty would prove nothing.
_LEVEL = 0.99


@dataclass(frozen=True)
class Averaged:
    """Averages of one stack at estimated poses.

    sizes: numbers of images, the last being all.
    transfer: (n, n//2 + 1), mean of the squared contrast transfers of all images.
    averages: (S, n, n) of the first images.
    halves: (S, 2, n, n), each half of them with the poses that it found alone.
    """

    answer: Answer
    sizes: list[int]
    transfer: Tensor
    averages: Tensor
    halves: Tensor

    def as_shown(self, clean: Tensor) -> Tensor:
        """What the average of clean images (…, n, n) would be at true poses and without noise."""
        return torch.fft.irfft2(torch.fft.rfft2(clean) * self.transfer, s=clean.shape[-2:])


def averaged(answer: Answer, sizes: Sequence[int]) -> Averaged:
    """The averages of the first images of a stack, at the poses that the whole stack, or each half of it, gave."""
    stack, values = answer.stack, answer.values
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
    return Averaged(answer, sizes, transfer.sum(dim=0) / count, sums["all"], halves)


def true_answer(stack: LabelledStack) -> Answer:
    """The poses that are true, as an answer: what no estimator can beat."""
    angle_deg, shift_px = stack.truth()
    poses = {"angle_deg": angle_deg, "shift_px": shift_px, "half_angle_deg": angle_deg, "half_shift_px": shift_px}
    return Answer(TRUE_POSES, None, JOINT, None, stack, poses)


def resolution_a(first: Tensor, second: Tensor, threshold: float, pixel_size_a: float) -> float:
    """Period in Å down to which two images (n, n) agree once one is laid on the other; the box's side where nowhere."""
    period_px = frc_resolution(frc(superimpose(first, second)[0], second), threshold)
    return min(period_px, float(len(second))) * pixel_size_a


def correlation(images: Tensor, reference: Tensor) -> np.ndarray:
    """Pearson correlation (N,) of images (N, n, n) with one (n, n), each turned and shifted to its best."""
    images, reference = images - images.mean(dim=(1, 2), keepdim=True), reference - reference.mean()
    angle = pairwise(amplitude_spectra(images), amplitude_spectra(reference[None]))
    return resolve(images, angle, reference).score.numpy()


def strangers(box_px: int, pixel_size_a: float, settings: Evaluate) -> Tensor:
    """Random particles (M, n, n), `null_permutations` of them, that no stage has seen: what an average resembles by
    chance, for particles are all bright and in the middle."""
    seeds = (10**12 + settings.seed * 10**6 + number for number in range(settings.null_permutations))
    return torch.stack([random_particle(seed, box_px, pixel_size_a).image for seed in seeds])


def quality_rows(found: Sequence[Averaged], centres: dict[str, Tensor], null: Tensor, settings: Evaluate) -> list[dict]:
    """Resolution and correlation of the headline's averages by number of images, by particle and over the particles.

    Args:
        found: averages of stacks of particles.
        centres: clean image (n, n) of each particle.
        null: of `strangers`.
    """
    rows: list[dict] = []
    groups: dict[tuple, list[float]] = {}
    for one in found:
        stack, answer = one.answer.stack, one.answer
        centre, size_a = one.as_shown(centres[stack.particle]), stack.pixel_size_a
        about = {"noise": stack.noise, "snr": stack.snr} | ({"stage": answer.stage} if answer.stage else {})
        for place, size in enumerate(one.sizes):
            values = {
                RESOLUTION: resolution_a(one.averages[place], centre, TRUTH, size_a),
                HALVES: resolution_a(*one.halves[place], HALF_SETS, size_a),
                CORRELATION: float(correlation(one.averages[place][None], centre)[0]),
            }
            counted = [({"images": str(size)}, values)]
            if size == len(stack):
                excess = values[CORRELATION] - float(np.quantile(_null(one, null), _LEVEL))
                counted.append(({}, values | {EXCESS: excess}))
            for how_many, measured in counted:
                every = condition(**about, **how_many, particle="all")
                for metric, value in measured.items():
                    where = condition(**about, **how_many, particle=stack.particle)
                    rows.append(_row(answer, metric, value, where))
                    groups.setdefault((answer.estimator, answer.seed, every, metric), []).append(value)
    for (estimator, seed, where, metric), values in groups.items():
        interval = over_particles(np.array(values), settings)
        rows.append(metric_row(estimator, metric, UNITS_OF_AVERAGES[metric], interval, condition=where, seed=seed))
    return rows


def control_rows(
    noise: Sequence[Errors],
    found: Sequence[Averaged],
    centres: dict[str, Tensor],
    null: Tensor,
    settings: Evaluate,
) -> list[dict]:
    """What estimators say of pure noise: errors against poses that nothing in the images knows, and what the average
    shows; beside each the interval (2.5 % to 97.5 %) of permuted poses and of the same average against strangers.

    Args:
        noise: errors mod 180 of the stack of pure noise.
        found: its averages.
        centres: clean image (n, n) of each particle, which the averages may not resemble.
        null: of `strangers`.
    """
    rows = []
    for one in noise:
        answer = one.answer
        about = {"alignment": answer.alignment} | ({"stage": answer.stage} if answer.stage else {})
        rest = {"seed": answer.seed, "statistic": "mean"}
        for control, value in (("noise", float(np.mean(one.values))), ("null", _permuted(answer, settings))):
            named = condition(**about, control=control)
            rows.append(metric_row(answer.estimator, MOD180, UNITS[MOD180], value, condition=named, **rest))
    for one in found:
        about = {"stage": one.answer.stage} if one.answer.stage else {}
        by_chance = _null(one, null)
        rows.append(_row(one.answer, CORRELATION, _interval(by_chance), condition(**about, control="null")))
        for particle, centre in centres.items():
            value = float(correlation(one.averages[-1][None], one.as_shown(centre))[0])
            named = condition(**about, control="noise", particle=particle)
            rows.append(_row(one.answer, CORRELATION, value, named))
            rows.append(_row(one.answer, EXCESS, value - np.quantile(by_chance, _LEVEL), named))
    return rows


def _row(answer: Answer, metric: str, value: float | Estimate, where: str) -> dict:
    unit = UNITS_OF_AVERAGES[metric]
    return metric_row(answer.estimator, metric, unit, value, condition=where, seed=answer.seed)


def _null(one: Averaged, null: Tensor) -> np.ndarray:
    """Correlations (M,) of an average with strangers."""
    return correlation(one.as_shown(null), one.averages[-1])


def _permuted(answer: Answer, settings: Evaluate) -> Estimate:
    """Mean error mod 180 of an estimator's angles against true ones that were dealt out anew."""
    true_deg, _ = answer.stack.truth()
    rng = np.random.default_rng(settings.seed)
    means = []
    for _ in range(settings.null_permutations):
        dealt = rng.permutation(true_deg)
        if answer.alignment == JOINT:
            error = rotation_error_deg(answer.values["angle_deg"], dealt, 180.0)
        else:
            error = rotation_error_deg(answer.values["pair_deg"], dealt[:-1] - dealt[1:], 180.0, relative=True)
        means.append(error.mean())
    return _interval(np.array(means))


def _interval(null: np.ndarray) -> Estimate:
    low, high = np.quantile(null, [0.025, 0.975])
    return Estimate(float(null.mean()), float(low), float(high), len(null))


def _running(
    stack: LabelledStack, indices: np.ndarray, angle_deg: np.ndarray, shift_px: np.ndarray, sizes: Sequence[int]
) -> Tensor:
    """Averages (S, n, n) of the first images that `indices` name, for each of the sizes."""
    n = stack.images.box_px
    total, done, found = torch.zeros(n, n), 0, []
    for size in sizes:
        while done < size:
            part = slice(done, min(done + _BATCH, size))
            images = torch.from_numpy(stack.images.read(indices[part]))
            weighted = torch.fft.irfft2(torch.fft.rfft2(images) * _transfer(stack, indices[part]), s=(n, n))
            angle, shift = (torch.from_numpy(np.asarray(pose[part], np.float32)) for pose in (angle_deg, shift_px))
            total = total + align(weighted, angle, shift).sum(dim=0)
            done = part.stop
        found.append(total / max(done, 1))
    return torch.stack(found)


def _transfer(stack: LabelledStack, indices: np.ndarray) -> Tensor:
    """Contrast transfer (k, n, n//2 + 1) of these images."""
    parameters = stack.contrast().subset(indices)
    optics = {item.name: torch.from_numpy(getattr(parameters, item.name)) for item in fields(parameters)}
    return ctf(stack.images.box_px, stack.pixel_size_a, **optics).float()
