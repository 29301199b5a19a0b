"""Joint alignment of stacks larger than the memory: a sample is aligned first, then all particles in batches.

At most 2,048 particles, evenly spaced, are aligned in memory: angles mod 180 from polar rows
(``polar_alignment.joint``), then branch and shift (``branch.align_stack``). Their averages are the first template. Then
follow sweeps over all particles, in which each particle is compared with the average of the *others* from the previous
sweep. Images and rows are computed again for every batch; only poses and averages stay in memory between batches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.alignment.apply.data import UserParticles
from workflow_scripts.alignment.networks.branch import Poses, align_stack, resolve
from workflow_scripts.alignment.networks.polar_alignment import joint, rotated_rows
from workflow_scripts.alignment.simulation.geometry import align, angular_correlation, peak, rotate
from workflow_scripts.alignment.simulation.imaging import fourier_rings, radial_power
from workflow_scripts.formats.particles import index_batches, spaced

# From images (k, n, n) to polar rows over 180° (k, R, angles). Rotating an image by +a shifts its rows by
# a · angles / 180 samples; two images are compared by the sum of the circular correlations of their rows.
Encode = Callable[[Tensor], Tensor]

SAMPLE = 2048  # particles, at most, that are aligned first
_TOLERANCE_DEG, _TOLERANCE_PX = 0.1, 0.05


@dataclass(frozen=True)
class AlignmentOptions:
    """Options of the comparison of particles.

    encode: from images to polar rows, see `Encode`.
    mask: (n, n), applied to references.
    largest_shift_px: largest shift allowed along each axis, after the image is rotated back, in pixels of the work box.
    symmetry_fold: references are symmetrised n-fold.
    rounds: largest number of rounds in the alignment of the sample.
    batch_size: images that are processed at once.
    sweeps: largest number of sweeps over all particles, at least one; fewer if poses converge.
    """

    encode: Encode
    mask: Tensor
    largest_shift_px: float
    symmetry_fold: int
    rounds: int
    batch_size: int
    sweeps: int = 2


def options_for(
    user: UserParticles, encode: Encode, symmetry_fold: int, rounds: int, batch_size: int
) -> AlignmentOptions:
    """Options for the user's particles and one estimator; small stacks get more sweeps."""
    shift_limit = user.largest_shift_px / user.scale
    sweeps = max(2, min(rounds, 6, 4 * SAMPLE // len(user)))
    return AlignmentOptions(encode, user.reference_mask(), shift_limit, symmetry_fold, rounds, batch_size, sweeps)


@dataclass
class Template:
    """Sums over aligned particles, the reference for the comparison.

    rows: (R, angles), sum of the polar rows at angle 0.
    image: (n, n), sum of the images.
    weight: (n, n//2 + 1), Wiener filter of the sum: on each ring the fraction of the power that is common to the
        particles, 1 − Σ|F_i|² / |Σ F_i|². It suppresses the residual noise of small averages.
    """

    rows: Tensor
    image: Tensor
    weight: Tensor


def align_streamed(
    images: UserParticles, options: AlignmentOptions, reference: Tensor | None = None
) -> tuple[Poses, Template]:
    """Poses of all particles, on the CPU, and the template to which they were aligned.

    Args:
        images: N ≥ 2 particles.
        options: of the comparison.
        reference: initial reference (n, n); None starts from a sample of the particles.
    """
    poses, template = _begin(images, options, reference)
    for sweep in range(options.sweeps):
        previous_poses, previous_template = poses, template
        poses, template = _sweep(images, options, previous_template, previous_poses)
        if sweep and _have_converged(previous_poses, poses):
            break
    return poses, previous_template


def compare(
    batch: Tensor, options: AlignmentOptions, template: Template, included: Poses | None = None
) -> tuple[Poses, Tensor]:
    """Poses of images (k, n, n) against a template, and their rows (k, R, angles).

    Args:
        included: poses at which these images were added to the sums of the template, from which they are subtracted;
            a score of NaN marks an image that was not added. None if no image was added.
    """
    rows = options.encode(batch)
    reference, image = template.rows[None], template.image[None]
    if included is not None:
        weight = ~included.score.isnan()[:, None, None]
        reference = reference - weight * rotated_rows(rows, -included.angle_deg) / options.symmetry_fold
        image = image - weight * align(batch, included.angle_deg, included.shift_px) / options.symmetry_fold
    position, _ = peak(angular_correlation(rows, reference))
    angle = position * (180 / rows.shape[-1])
    filtered = torch.fft.irfft2(torch.fft.rfft2(image) * template.weight, s=image.shape[1:]) * options.mask
    return resolve(batch, angle, filtered.expand_as(batch), options.largest_shift_px), rows


def _begin(images: UserParticles, options: AlignmentOptions, reference: Tensor | None) -> tuple[Poses, Template]:
    """The first template (the user's reference, or from a sample) and the poses in it; NaN scores mark other images."""
    count = len(images)
    poses = Poses(torch.zeros(count), torch.zeros(count, 2), torch.full((count,), math.nan))
    if reference is not None:
        weight = torch.ones_like(torch.fft.rfft2(reference).real)
        return poses, Template(options.encode(reference[None])[0], reference, weight)
    indices = spaced(count, SAMPLE)
    sample = torch.cat([images.read(indices[piece]) for piece in index_batches(len(indices), options.batch_size)])
    rows = torch.cat([options.encode(batch) for batch in sample.split(options.batch_size)])
    angle, mean_rows = joint(rows, options.rounds)
    sample_poses, average = align_stack(sample, angle, options.rounds, options.largest_shift_px)
    for name, values in vars(sample_poses).items():
        getattr(poses, name)[indices] = values.cpu()
    power = sum(radial_power(batch).sum(dim=0) for batch in sample.split(options.batch_size))
    return poses, _template(mean_rows * len(sample), average * len(sample), power, options)


def _sweep(
    images: UserParticles, options: AlignmentOptions, template: Template, poses: Poses
) -> tuple[Poses, Template]:
    """New poses of all particles, on the CPU, and the template from particles at these poses."""
    rows_sum, image_sum, power = torch.zeros_like(template.rows), torch.zeros_like(template.image), 0.0
    batches = []
    for indices in index_batches(len(images), options.batch_size):
        batch = images.read(indices)
        new, rows = compare(batch, options, template, poses.subset(indices, batch.device))
        rows_sum += rotated_rows(rows, -new.angle_deg).sum(dim=0)
        image_sum += align(batch, new.angle_deg, new.shift_px).sum(dim=0)
        power = power + radial_power(batch).sum(dim=0)
        batches.append([values.cpu() for values in vars(new).values()])
    all_poses = Poses(*(torch.cat(values) for values in zip(*batches, strict=True)))
    return all_poses, _template(rows_sum, image_sum, power, options)


def _template(rows: Tensor, image: Tensor, power: Tensor, options: AlignmentOptions) -> Template:
    """A template from sums over particles.

    power: (rings,), sum of the power spectra of the single particles.
    """
    common = (1 - power / radial_power(image[None])[0].clamp_min(1e-30)).clamp(0, 1)
    weight, fold = common[fourier_rings(image.shape[-1], image.device)], options.symmetry_fold
    if fold > 1:
        steps = torch.arange(fold, device=image.device) * (360 / fold)
        rows = rotated_rows(rows.expand(fold, -1, -1), steps).mean(dim=0)
        image = rotate(image.expand(fold, -1, -1), steps).mean(dim=0)
    return Template(rows, image, weight)


def _have_converged(before: Poses, after: Poses) -> bool:
    """Whether the median change of the poses in a sweep is below the tolerance."""
    rotation = torch.remainder(after.angle_deg - before.angle_deg + 180, 360) - 180
    displacement = (after.shift_px - before.shift_px).norm(dim=1)
    return float(rotation.abs().median()) < _TOLERANCE_DEG and float(displacement.median()) < _TOLERANCE_PX
