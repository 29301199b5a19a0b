"""Joint alignment of stacks larger than the memory: a sample is aligned first, then all particles in batches.

At most 2,048 particles, evenly spaced, are aligned in memory: angles mod 180 from rows along the angle
(``polar_alignment.joint``), then branch and shift (``branch.align_stack``). Their averages are the templates of sweeps
over all particles, in which each is compared with the averages of the *others* after the previous sweep. Images and
rows are computed again for every batch; between batches only poses and averages remain in memory.
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

# Images (k, n, n) to rows along half a turn (k, R, angles): a rotation by +a moves them by a · angles / 180 samples;
# the sum of the rows' circular correlations compares two images.
Encode = Callable[[Tensor], Tensor]

SAMPLE = 2048  # particles, at most, that are aligned first
_TOLERANCE_DEG, _TOLERANCE_PX = 0.1, 0.05


@dataclass(frozen=True)
class AlignmentOptions:
    """Options of the comparison of particles.

    encode: see above.
    mask: (n, n) on references.
    furthest_px: largest shift along an axis of the image rotated back, in pixels of the images.
    symmetry_fold: references are symmetrised by it.
    rounds: largest number of rounds in the alignment of the sample.
    sweeps: largest number over all particles after that, at least one; fewer where poses converge.
    batch_size: images at once.
    """

    encode: Encode
    mask: Tensor
    furthest_px: float
    symmetry_fold: int
    rounds: int
    batch_size: int
    sweeps: int = 2


def options_for(
    user: UserParticles, encode: Encode, symmetry_fold: int, rounds: int, batch_size: int
) -> AlignmentOptions:
    """Options for the user's particles and one estimator; small stacks get more sweeps."""
    furthest = user.largest_shift_px / user.scale
    sweeps = max(2, min(rounds, 6, 4 * SAMPLE // len(user)))
    return AlignmentOptions(encode, user.reference_mask(), furthest, symmetry_fold, rounds, batch_size, sweeps)


@dataclass
class Template:
    """Sums over aligned particles, with which others are compared.

    rows: (R, angles) at angle 0.
    image: (n, n).
    weight: (n, n//2 + 1), the Wiener filter of the sum: of each ring's power the share that its particles have in
        common, 1 − Σ|F_i|² / |Σ F_i|². It suppresses the noise that remains in an average of few.
    """

    rows: Tensor
    image: Tensor
    weight: Tensor


def align_streamed(
    images: UserParticles, options: AlignmentOptions, reference: Tensor | None = None
) -> tuple[Poses, Template]:
    """Poses of all particles, on the CPU, and the template against which they were found.

    Args:
        images: N ≥ 2 of them.
        options: of the comparison.
        reference: (n, n) to begin from; None begins from the particles alone.
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
        included: poses at which these images are in the template's sums, from which they are subtracted; None: they
            are not. A score of NaN marks an image that is not in them.
    """
    rows = options.encode(batch)
    reference, image = template.rows[None], template.image[None]
    if included is not None:
        weight = ~included.score.isnan()[:, None, None]
        reference = reference - weight * rotated_rows(rows, -included.angle_deg) / options.symmetry_fold
        image = image - weight * align(batch, included.angle_deg, included.shift_px) / options.symmetry_fold
    place, _ = peak(angular_correlation(rows, reference))
    angle = place * (180 / rows.shape[-1])
    filtered = torch.fft.irfft2(torch.fft.rfft2(image) * template.weight, s=image.shape[1:]) * options.mask
    return resolve(batch, angle, filtered.expand_as(batch), options.furthest_px), rows


def _begin(images: UserParticles, options: AlignmentOptions, reference: Tensor | None) -> tuple[Poses, Template]:
    """The first template, the user's reference or a sample's, and the poses in it: of the others the score is NaN."""
    count = len(images)
    poses = Poses(torch.zeros(count), torch.zeros(count, 2), torch.full((count,), math.nan))
    if reference is not None:
        weight = torch.ones_like(torch.fft.rfft2(reference).real)
        return poses, Template(options.encode(reference[None])[0], reference, weight)
    indices = spaced(count, SAMPLE)
    sample = torch.cat([images.read(indices[piece]) for piece in index_batches(len(indices), options.batch_size)])
    rows = torch.cat([options.encode(batch) for batch in sample.split(options.batch_size)])
    angle, mean_rows = joint(rows, options.rounds)
    sample_poses, average = align_stack(sample, angle, options.rounds, options.furthest_px)
    for name, values in vars(sample_poses).items():
        getattr(poses, name)[indices] = values.cpu()
    power = sum(radial_power(batch).sum(dim=0) for batch in sample.split(options.batch_size))
    return poses, _template(mean_rows * len(sample), average * len(sample), power, options)


def _sweep(
    images: UserParticles, options: AlignmentOptions, template: Template, poses: Poses
) -> tuple[Poses, Template]:
    """New poses of all particles, on the CPU, and the template that they make."""
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
    """Sums over particles as a template; power: (rings,), the sum of the particles' own."""
    common = (1 - power / radial_power(image[None])[0].clamp_min(1e-30)).clamp(0, 1)
    weight, fold = common[fourier_rings(image.shape[-1], image.device)], options.symmetry_fold
    if fold > 1:
        steps = torch.arange(fold, device=image.device) * (360 / fold)
        rows = rotated_rows(rows.expand(fold, -1, -1), steps).mean(dim=0)
        image = rotate(image.expand(fold, -1, -1), steps).mean(dim=0)
    return Template(rows, image, weight)


def _have_converged(before: Poses, after: Poses) -> bool:
    """Whether a sweep moved most particles by less than their sampling resolves."""
    rotation = torch.remainder(after.angle_deg - before.angle_deg + 180, 360) - 180
    displacement = (after.shift_px - before.shift_px).norm(dim=1)
    return float(rotation.abs().median()) < _TOLERANCE_DEG and float(displacement.median()) < _TOLERANCE_PX
