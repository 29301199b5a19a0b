"""Joint alignment of stacks larger than the memory: some particles begin, all follow in batches.

At most 2,048 particles, evenly spaced, are aligned in memory: angles mod 180 from rows along the angle
(``polar_alignment.joint``), then branch and shift (``branch.align_stack``). Their averages then lead sweeps over all
particles, in which each is compared with the averages of the *others* as the sweep before left them. Images and rows
are made anew for every batch; between batches only poses and averages remain.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.networks.branch import Poses, align_stack, resolve
from workflow_scripts.alignment.networks.polar_alignment import joint, turned
from workflow_scripts.alignment.simulation.geometry import align, angular_correlation, peak, rotate
from workflow_scripts.alignment.simulation.imaging import radial_power

# Images (k, n, n) to rows along half a turn (k, R, angles): a turn by +a moves them by a · angles / 180 samples, and
# the sum of the rows' circular correlations compares two images.
Encode = Callable[[Tensor], Tensor]

START = 2048
_REST_DEG, _REST_PX = 0.1, 0.05


class Images(Protocol):
    """What can be aligned: `OwnParticles`, or anything with its images in reach."""

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray, scrambled: torch.Generator | None = None) -> Tensor:
        """Images (k, n, n) of mean 0 and variance 1; with random phases where a generator is given."""


@dataclass(frozen=True)
class Way:
    """How particles are compared.

    encode: see above.
    mask: (n, n) on references.
    furthest_px: largest shift along an axis of the image turned back, in pixels of the images.
    symmetry_fold: references are symmetrised by it.
    rounds: most rounds among those that begin.
    sweeps: most over all particles after that, at least one; fewer where poses come to rest.
    batch_size: images at once.
    start: most particles that begin.
    """

    encode: Encode
    mask: Tensor
    furthest_px: float
    symmetry_fold: int
    rounds: int
    batch_size: int
    sweeps: int = 2
    start: int = START


@dataclass
class Template:
    """Sums over aligned particles, which others are compared with.

    rows: (R, angles) at angle 0.
    image: (n, n).
    count: of particles in the sums.
    weight: (n, n//2 + 1), the Wiener filter of the sum: of each ring's power the share that its particles have in
        common, 1 − Σ|F_i|² / |Σ F_i|². What is left of noise in an average of few is kept from leading by it.
    """

    rows: Tensor
    image: Tensor
    count: int
    weight: Tensor

    @property
    def average(self) -> Tensor:
        """(n, n)."""
        return self.image / max(1, self.count)


@dataclass(frozen=True)
class Aligned:
    """What came of it.

    poses: of all particles, score against the average of the others; on the CPU.
    template: that gave these poses.
    average: (n, n), of the particles at these poses.
    """

    poses: Poses
    template: Template
    average: Tensor


def align_streamed(images: Images, way: Way, reference: Tensor | None = None) -> Aligned:
    """Poses of all particles and their average.

    Args:
        images: N ≥ 2 of them.
        way: how they are compared.
        reference: (n, n) to begin from; None begins from the particles alone.

    Raises:
        ValueError: fewer than two particles.
    """
    count = len(images)
    if count < 2:
        raise ValueError(f"an average needs at least 2 images, not {count}")
    template, known = _begin(images, way, reference)
    poses = Poses(torch.zeros(count), torch.zeros(count, 2), torch.zeros(count))
    inside = torch.zeros(count, dtype=torch.bool)
    if known is not None:
        chosen = torch.from_numpy(spaced(count, way.start))
        inside[chosen] = True
        poses.angle_deg[chosen], poses.shift_px[chosen] = known.angle_deg.cpu(), known.shift_px.cpu()
    for sweep in range(way.sweeps):
        before, led_by = poses, template
        poses, template = _sweep(images, way, template, before, inside)
        inside[:] = True
        if sweep and _at_rest(before, poses):
            break
    return Aligned(poses, led_by, template.average)


def compare(batch: Tensor, way: Way, template: Template, own: Poses | None = None) -> tuple[Poses, Tensor]:
    """Poses of images (k, n, n) against a template, and their rows (k, R, angles).

    Args:
        own: poses at which these images are in the template's sums, from which they are taken out; None: they are not.
            A score of NaN marks an image that is not in them.
    """
    rows = way.encode(batch)
    against, image = template.rows[None], template.image[None]
    if own is not None:
        there = ~own.score.isnan()
        against = against - there[:, None, None] * turned(rows, -own.angle_deg) / way.symmetry_fold
        image = image - there[:, None, None] * align(batch, own.angle_deg, own.shift_px) / way.symmetry_fold
    place, _ = peak(angular_correlation(rows, against))
    angle = place * (180 / rows.shape[-1])
    filtered = torch.fft.irfft2(torch.fft.rfft2(image) * template.weight, s=image.shape[1:]) * way.mask
    return resolve(batch, angle, filtered.expand_as(batch), way.furthest_px), rows


def half_indices(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every other particle and the rest: two halves of a stack of N."""
    return np.arange(0, count, 2), np.arange(1, count, 2)


def _begin(images: Images, way: Way, reference: Tensor | None) -> tuple[Template, Poses | None]:
    """The first template, and the poses of the particles in it; None where it is the user's reference."""
    if reference is not None:
        return Template(
            way.encode(reference[None])[0], reference, 0, torch.ones_like(torch.fft.rfft2(reference).real)
        ), None
    chosen = spaced(len(images), way.start)
    some = torch.cat([images.read(chosen[piece]) for piece in _batches(len(chosen), way.batch_size)])
    rows = torch.cat([way.encode(batch) for batch in some.split(way.batch_size)])
    angle, mean_rows = joint(rows, way.rounds)
    poses, average = align_stack(some, angle, way.rounds, way.furthest_px)
    power = sum(radial_power(batch).sum(dim=0) for batch in some.split(way.batch_size))
    return _template(mean_rows * len(some), average * len(some), len(some), power, way), poses


def _sweep(images: Images, way: Way, template: Template, poses: Poses, inside: Tensor) -> tuple[Poses, Template]:
    """New poses of all particles, and the template that they make."""
    rows_sum, image_sum, power = torch.zeros_like(template.rows), torch.zeros_like(template.image), 0.0
    found = []
    for indices in _batches(len(images), way.batch_size):
        batch = images.read(indices)
        here = torch.from_numpy(indices)
        marks = torch.where(inside[here], 0.0, math.nan)
        own = Poses(*(values.to(batch.device) for values in (poses.angle_deg[here], poses.shift_px[here], marks)))
        new, rows = compare(batch, way, template, own)
        rows_sum += turned(rows, -new.angle_deg).sum(dim=0)
        image_sum += align(batch, new.angle_deg, new.shift_px).sum(dim=0)
        power = power + radial_power(batch).sum(dim=0)
        found.append((new.angle_deg.cpu(), new.shift_px.cpu(), new.score.cpu()))
    all_poses = Poses(*(torch.cat(values) for values in zip(*found, strict=True)))
    return all_poses, _template(rows_sum, image_sum, len(images), power, way)


def _template(rows: Tensor, image: Tensor, count: int, power: Tensor, way: Way) -> Template:
    """Sums over particles as a template; power: (rings,), the sum of the particles' own."""
    common = (1 - power / radial_power(image[None])[0].clamp_min(1e-30)).clamp(0, 1)
    n, fold = image.shape[-1], way.symmetry_fold
    frequency = torch.hypot(
        torch.fft.fftfreq(n, d=1 / n, device=image.device)[:, None], torch.arange(n // 2 + 1, device=image.device)
    )
    weight = common[frequency.round().long()]
    if fold > 1:
        steps = torch.arange(fold, device=image.device) * (360 / fold)
        rows = turned(rows.expand(fold, -1, -1), steps).mean(dim=0)
        image = rotate(image.expand(fold, -1, -1), steps).mean(dim=0)
    return Template(rows, image, count, weight)


def _at_rest(before: Poses, after: Poses) -> bool:
    """Whether a sweep moved most particles by less than their sampling can tell."""
    turn = torch.remainder(after.angle_deg - before.angle_deg + 180, 360) - 180
    step = (after.shift_px - before.shift_px).norm(dim=1)
    return float(turn.abs().median()) < _REST_DEG and float(step.median()) < _REST_PX


def spaced(count: int, most: int) -> np.ndarray:
    """At most `most` indices of N, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def _batches(count: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))
