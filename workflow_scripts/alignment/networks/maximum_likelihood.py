"""Alignment of a stack with its own average by expectation maximisation, and with a known reference.

The model is one class of images: the particle at an unknown pose, contrast transfer, Gaussian noise. In every round all
images are averaged at all poses in proportion to their posterior probabilities; the average is divided by the sum of
the squared transfers and the inverse power of the signal, the Wiener filter (doi:10.1006/jsbi.1998.4014,
doi:10.1016/j.jmb.2011.11.010). An image is compared with the average of other images, which lacks its noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from workflow_scripts.alignment.networks.matching import Disc, Observations
from workflow_scripts.alignment.settings import PredictEmJoint
from workflow_scripts.alignment.simulation.geometry import turned

_FOLDS = 4  # each has its own reference, the average of the others
_STEP_DEG, _SHIFT_STEP = 5.0, 0.625  # of the search; shifts in units of half the shortest period
_LOCAL = ((6.0, 3.0), (3.0, 1.5), (2.0, 1.5))  # reach of the first local rounds, degrees and px; then the last
_LOCAL_ANGLES, _LOCAL_SHIFTS = 11, 7
_CLEAN_RING = 40  # periods per image, up to which a noise-free reference is compared
_ENCLOSED, _ABOVE, _MARGIN_PX, _SOFTNESS_PX = 0.98, 1.1, 4.0, 1.5  # of the mask
_BATCH = 4_000_000  # numbers in the largest array of a batch


@dataclass(frozen=True)
class Alignment:
    """Poses of a stack and what they were found from.

    angle_deg, shift_px: (N,) and (N, 2), in the conventions of `geometry`.
    reference: (1, C), the average as a vector of `disc`.
    evidence: mean log-likelihood of an image over all poses, from the last round of the search.
    """

    angle_deg: Tensor
    shift_px: Tensor
    reference: Tensor
    disc: Disc
    evidence: float


@dataclass(frozen=True)
class Matcher:
    """The images of one stack within one circle of the Fourier plane."""

    observations: Observations
    disc: Disc

    @cached_property
    def vectors(self) -> Tensor:
        """(N, C)."""
        return self.disc.vectors(self.observations.spectra)

    @cached_property
    def information(self) -> Tensor:
        """(N, C)."""
        return self.disc.values(self.observations.information)

    def folds(self) -> list[Tensor]:
        """Indices of the images of each fold."""
        order = torch.arange(len(self.observations), device=self.vectors.device)
        return [order[fold::_FOLDS] for fold in range(_FOLDS)]

    def references(self, sums: Tensor) -> Tensor:
        """Averages (folds, C) of all folds but one, from sums (folds, C) of the aligned images of each fold."""
        information = torch.stack([self.information[fold].sum(dim=0) for fold in self.folds()])
        return (sums.sum(dim=0) - sums) / (information.sum(dim=0) - information + self._prior())

    def single_image(self, index: int) -> Tensor:
        """The reference (folds, C) that one image makes."""
        reference = self.vectors[index] / (self.information[index] + self._prior())
        return reference.expand(_FOLDS, -1)

    def _prior(self) -> Tensor:
        return 1 / self.disc.values(self.observations.signal).clamp_min(1e-9)

    def search(self, references: Tensor, reach_px: float) -> tuple[Tensor, Tensor, Tensor, float]:
        """One round over all angles, and shifts up to `reach_px` along each axis.

        Returns:
            angles (N,), shifts (N, 2), the centred sums (folds, C) of the images at all poses, and the evidence.
        """
        device, vectors = references.device, self.vectors
        angles = torch.arange(0, 360, _STEP_DEG, device=device)
        step = _SHIFT_STEP * self.disc.n / (2 * self.disc.last_ring)
        shifts = _square(int(reach_px / step), step, device)
        angle_deg, shift_px = vectors.real.new_zeros(len(vectors)), vectors.real.new_zeros(len(vectors), 2)
        evidence, sums = torch.zeros_like(angle_deg), torch.zeros_like(references)
        for fold, reference in enumerate(references):
            total = torch.zeros(len(angles), 2 * vectors.shape[1], device=device)
            power = reference.abs().square() * self.disc.compared
            for indices, moved, likelihood in self._likelihoods(vectors, fold, reference, angles, shifts):
                flat = likelihood.flatten(1)
                marginal = flat.logsumexp(dim=1, keepdim=True)
                total += (flat - marginal).exp().view(-1, len(angles)).T @ moved.flatten(0, 1)
                evidence[indices] = marginal[:, 0] - self.information[indices] @ power / 2
                best = flat.argmax(dim=1)
                angle_deg[indices], shift_px[indices] = angles[best % len(angles)], shifts[best // len(angles)]
            averaged = torch.view_as_complex(total.unflatten(1, (-1, 2)))
            sums[fold] = self.disc.rotated(averaged, -angles).sum(dim=0)
        off_centre = turned(shift_px, -angle_deg).median(dim=0).values
        shift_px = shift_px - turned(off_centre.expand_as(shift_px), angle_deg)
        return angle_deg, shift_px, sums * self.disc.phases(off_centre[None]), float(evidence.mean())

    def refine(
        self, angle_deg: Tensor, shift_px: Tensor, reach: tuple[float, float], reference: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The most probable poses within `reach` (degrees, px) of given ones, interpolated, and the reference (1, C).

        reference: (1, C); None takes the masked averages at the given poses.
        """
        back = self.disc.rotated(self.vectors * self.disc.phases(-shift_px), -angle_deg)
        if reference is None:
            sums = torch.stack([back[fold].sum(dim=0) for fold in self.folds()])
            references = masked(self.references(sums), self.disc)
        else:
            references = reference.expand(_FOLDS, -1)
        angles = torch.linspace(-reach[0], reach[0], _LOCAL_ANGLES, device=back.device)
        count = _LOCAL_SHIFTS // 2
        shifts = _square(count, reach[1] / count, back.device)
        turn, move = torch.zeros_like(angle_deg), torch.zeros_like(shift_px)
        for fold, of_others in enumerate(references):
            for indices, _, likelihood in self._likelihoods(back, fold, of_others, angles, shifts):
                peak = vertex(likelihood.unflatten(1, (_LOCAL_SHIFTS, _LOCAL_SHIFTS)))  # (k, 3), in −1 … 1
                move[indices], turn[indices] = reach[1] * peak[:, :2], reach[0] * peak[:, 2]
        moved = shift_px + turned(move, angle_deg)
        return torch.remainder(angle_deg + turn, 360), moved, references.mean(dim=0, keepdim=True)

    def _likelihoods(
        self, vectors: Tensor, fold: int, reference: Tensor, angles: Tensor, shifts: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches of a fold: indices (k,), images shifted back (k, S, 2C) and log-likelihoods (k, S, L)."""
        rotated = self.disc.rotated(reference[None], angles) * self.disc.compared
        bank = torch.view_as_real(rotated).flatten(1)  # (L, 2C)
        phases = self.disc.phases(-shifts)
        for indices in self.folds()[fold].split(max(1, _BATCH // (len(shifts) * bank.shape[1]))):
            moved = torch.view_as_real(vectors[indices, None] * phases).flatten(2)
            yield indices, moved, moved @ bank.T


def align_to_average(observations: Observations, first: Alignment | None, options: PredictEmJoint) -> Alignment:
    """Poses of a stack without any truth.

    Args:
        observations: N ≥ 4 images.
        first: an alignment whose reference is the first one; None tries `options.starts` single images.
        options: cut-offs, number of single images, reach of the search.
    """
    n, device = observations.spectra.shape[-2], observations.spectra.device
    matchers = [Matcher(observations, Disc(n, ring, device)) for ring in options.search_rings]
    if first is None:
        trials = [_from_single_image(matchers[0], index, options) for index in range(options.starts)]
        _, references = max(trials, key=lambda trial: trial[0])
        disc = matchers[0].disc
    else:
        disc, references, matchers = first.disc, first.reference.expand(_FOLDS, -1), matchers[-1:]
    for matcher in matchers:
        references = matcher.disc.vectors(disc.spectra(references))
        angle_deg, shift_px, sums, evidence = matcher.search(references, options.reach_px)
        disc, references = matcher.disc, matcher.references(sums)
    for number, ring in enumerate(options.refine_rings):
        disc = Disc(n, ring, device)
        reach = _LOCAL[min(number, len(_LOCAL) - 1)]
        angle_deg, shift_px, reference = Matcher(observations, disc).refine(angle_deg, shift_px, reach)
    return Alignment(angle_deg, shift_px, reference, disc, evidence)


def _from_single_image(matcher: Matcher, number: int, options: PredictEmJoint) -> tuple[float, Tensor]:
    """Evidence and references (folds, C) after two rounds that begin with one image of the stack."""
    references = matcher.single_image(number * len(matcher.observations) // options.starts)
    for _ in range(2):
        _, _, sums, evidence = matcher.search(references, options.reach_px)
        references = matcher.references(sums)
    return evidence, references


def align_to_clean(
    observations: Observations, clean: Tensor, angle_deg: Tensor, shift_px: Tensor
) -> tuple[Tensor, Tensor]:
    """Angles (N,) and shifts (N, 2) of highest likelihood near given ones against the noise-free particle (n, n)."""
    matcher = Matcher(observations, Disc(len(clean), _CLEAN_RING, clean.device))
    reference = matcher.disc.of_images(clean[None]) * matcher.disc.values(observations.whitening)
    for reach in _LOCAL[::2]:
        angle_deg, shift_px, _ = matcher.refine(angle_deg, shift_px, reach, reference)
    return angle_deg, shift_px


def masked(vectors: Tensor, disc: Disc) -> Tensor:
    """References (J, C) within the circle that has nearly all their power above that of the noise around it."""
    images, n = disc.images(vectors), disc.n
    axis_px = (torch.arange(disc.small_px, device=images.device) - disc.small_px // 2) * (n / disc.small_px)
    radius_px = torch.hypot(axis_px[:, None], axis_px)
    power = images.mean(dim=0).square()
    ring = radius_px.long().clamp_max(n // 2)
    members = torch.nn.functional.one_hot(ring.flatten(), n // 2 + 1).to(power)  # (m², R)
    profile = (power.flatten() @ members) / members.sum(dim=0).clamp_min(1)
    around = power[(radius_px > 0.44 * n) & (radius_px < 0.5 * n)].mean()
    enclosed = ((profile - _ABOVE * around).clamp_min(0) * members.sum(dim=0))[:-1].cumsum(dim=0)
    limit_px = (enclosed < _ENCLOSED * enclosed[-1]).sum() + _MARGIN_PX
    return disc.of_images(images * torch.sigmoid((limit_px - radius_px) / _SOFTNESS_PX))


def _square(count: int, step: float, device: torch.device) -> Tensor:
    """Points ((2 count + 1)², 2) of a square grid about 0."""
    axis = torch.arange(-count, count + 1, device=device) * step
    return torch.cartesian_prod(axis, axis)


def vertex(surfaces: Tensor) -> Tensor:
    """Position (k, 3) of the maximum of (k, h, w, L), −1 to 1 along each axis, by parabolas; axes may be 1 long."""
    best = surfaces.flatten(1).argmax(dim=1)
    _, _, width, length = surfaces.shape
    index = [best // (width * length), best // length % width, best % length]
    rows, position = torch.arange(len(surfaces), device=surfaces.device), []
    for axis, size in enumerate(surfaces.shape[1:]):
        middle = index[axis].clamp(1, size - 2) if size > 2 else index[axis]
        steps = [(middle + step).clamp(0, size - 1) for step in (-1, 0, 1)]
        below, top, above = (surfaces[rows, *index[:axis], step, *index[axis + 1 :]] for step in steps)
        bend = (2 * top - below - above).clamp_min(1e-20)
        place = middle + ((above - below) / (2 * bend)).clamp(-1, 1)
        position.append(2 * place / max(size - 1, 1) - 1)
    return torch.stack(position, dim=1)
