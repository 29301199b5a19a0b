"""Losses of a pair of patterns: contrast against the other patterns, and distances of intermediate features.

Wasserstein distances of two sets of features come from distances in one dimension, which sorting gives exactly:
W_p of two sets of N numbers is (mean |x₍ᵢ₎ − y₍ᵢ₎|^p)^(1/p) of the sorted ones. In more dimensions the sets are
projected on many directions (Bonneel 2015, doi:10.1007/s10851-014-0506-3). All kinds here are the mean over the set and
take the root last, so that a distance has the unit of the features and does not grow with the batch; the released code
of the recipe sums over the set in one kind and leaves the root out in another.

- sliced: (E_θ W_p^p)^(1/p) over uniform directions θ.
- generalised: the same, with the circular function |x − r θ| instead of the projection (Kolouri 2019,
  arXiv:1902.00434, eq. 14), r the root mean square norm of both sets.
- max_sliced: the largest W_p over directions (Deshpande 2019, arXiv:1904.05877), by ascent on the sphere.
- distributional: over directions of a learned distribution that maximises the distance and is kept from collapsing
  (Nguyen 2021, arXiv:2002.07367), here a linear map of uniform directions.
"""

import torch
from torch import Tensor
from torch.nn import functional

_PEAK_WIDTH = 0.6  # samples, of the target's peak along the angle
_ORDER = 2  # p of W_p
_ASCENT_STEPS = 20
_ASCENT_RATE = 0.5  # of a unit vector, decaying to 0
_MAP_STEPS = 10
_MAP_RATE = 0.1
_COLLAPSE_WEIGHT = 1.0  # of the mean |cosine| between directions, relative to the normalised distance
_TINY = 1e-14  # keeps the slope of the root finite at 0


def contrast(similarity: Tensor) -> Tensor:
    """Symmetric cross-entropy of scaled similarities (B, B), rows observed and columns calculated: (B,).

    InfoNCE (arXiv:1807.03748) in both directions, as CLIP has it (arXiv:2103.00020).
    """
    target = torch.arange(len(similarity), device=similarity.device)
    both_ways = similarity, similarity.T
    forward, backward = (functional.cross_entropy(rows, target, reduction="none") for rows in both_ways)
    return (forward + backward) / 2


def angular_contrast(curves: Tensor) -> Tensor:
    """`contrast` over patterns and in-plane angles: the correct pattern at the correct angle against all others.

    Args:
        curves: (B, B, A), scaled similarities; pairs on the diagonal, at the in-plane angle of sample 0.

    Returns:
        (B,).
    """
    paired = curves.diagonal().T  # (B, A)
    correct = (peak_target(curves.shape[-1], curves.device) * paired).sum(dim=-1)
    forward, backward = (torch.logsumexp(rows.flatten(1), dim=1) for rows in (curves, curves.transpose(0, 1)))
    return (forward + backward) / 2 - correct


def queue_contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """Cross-entropy of the correct key among those of a queue (MoCo, arXiv:1911.05722).

    Args:
        positive: (B,) scaled similarity to the pattern's own key, or (B, A) over the angle, where 0 is correct.
        negative: (B, K) to the queue's keys, or (B, K, A) over the angle.

    Returns:
        (B,).
    """
    is_angular = positive.ndim == 2
    correct = (peak_target(positive.shape[-1], positive.device) * positive).sum(dim=1) if is_angular else positive
    similarities = torch.cat([positive.view(len(positive), -1), negative.flatten(1)], dim=1)
    return torch.logsumexp(similarities, dim=1) - correct


def cosine_embedding(first: Tensor, second: Tensor) -> Tensor:
    """1 − cos of every row of (B, D) with its partner: (B,); the cosine embedding loss of matching pairs."""
    return 1 - functional.cosine_similarity(first, second, dim=1)


def peak_target(angles: int, device: torch.device) -> Tensor:
    """A narrow peak at angle 0 over a whole turn: (A,), sum 1."""
    place = torch.arange(angles, device=device)
    distance = torch.minimum(place, angles - place)
    return torch.softmax(-0.5 * (distance / _PEAK_WIDTH).square(), dim=0)


def wasserstein(
    kind: str, first: Tensor, second: Tensor, projections: int, generator: torch.Generator, paired: bool = False
) -> Tensor:
    """W_2 of two sets, () ≥ 0.

    Args:
        kind: sliced, generalised, max_sliced or distributional.
        first, second: (N, D) each.
        projections: random directions.
        generator: of the directions, on the device of the sets.
        paired: the recipe's max-sliced, which sorts an axis of length 1: rows are compared in their order.
    """
    first, second = first.float(), second.float()
    directions = uniform_directions(projections, first.shape[1], generator)
    distance = paired_power if paired and kind == "max_sliced" else power_1d
    if kind == "generalised":
        projections_of_sets = circular(first, second, directions)
    else:
        if kind == "max_sliced":
            directions = highest_direction(first.detach(), second.detach(), directions, distance)[None]
        elif kind == "distributional":
            directions = spread_directions(first.detach(), second.detach(), directions)
        projections_of_sets = first @ directions.T, second @ directions.T
    return distance(*projections_of_sets).mean().clamp_min(_TINY) ** (1 / _ORDER)


def power_1d(first: Tensor, second: Tensor) -> Tensor:
    """W_p^p of the columns of (N, L) and (N, L): (L,)."""
    return (first.sort(dim=0).values - second.sort(dim=0).values).abs().pow(_ORDER).mean(dim=0)


def paired_power(first: Tensor, second: Tensor) -> Tensor:
    """The recipe's `power_1d`, which sorts an axis of length 1: rows of (N, L) and (N, L) compared in order, (L,)."""
    return (first - second).abs().pow(_ORDER).mean(dim=0)


def uniform_directions(count: int, dimensions: int, generator: torch.Generator) -> Tensor:
    """Uniform on the unit sphere: (count, D)."""
    drawn = torch.randn(count, dimensions, generator=generator, device=generator.device)
    return functional.normalize(drawn, dim=1)


def circular(first: Tensor, second: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of the rows (N, D) from r θ, for directions (L, D): (N, L) each."""
    radius = torch.cat([first, second]).detach().square().sum(dim=1).mean().sqrt()
    return tuple(
        (rows[:, None] - radius * directions).square().sum(dim=-1).add(1e-12).sqrt() for rows in (first, second)
    )


@torch.enable_grad()
def highest_direction(first: Tensor, second: Tensor, directions: Tensor, distance=power_1d) -> Tensor:
    """The direction (D,) of the largest distance: the best of `directions` and of the means' difference, then ascent.

    Args: first, second: (N, D) without gradients. directions: (L, D). distance: columns to W_p^p.
    """
    difference = first.mean(dim=0) - second.mean(dim=0)
    tried = torch.cat([directions, functional.normalize(difference, dim=0)[None]])
    best = tried[distance(first @ tried.T, second @ tried.T).argmax()]

    def distance_along(direction: Tensor) -> Tensor:
        return distance(first @ direction[:, None], second @ direction[:, None]).sum()

    highest, top = best, distance_along(best)
    for step in range(_ASCENT_STEPS):
        best = best.detach().requires_grad_()
        value = distance_along(best)
        if value > top:
            highest, top = best.detach(), value.detach()
        (slope,) = torch.autograd.grad(value, best)
        rate = _ASCENT_RATE * (1 - step / _ASCENT_STEPS)
        best = functional.normalize(best + rate * functional.normalize(slope, dim=0), dim=0)
    return (best if distance_along(best) > top else highest).detach()


@torch.enable_grad()
def spread_directions(first: Tensor, second: Tensor, directions: Tensor) -> Tensor:
    """Directions (L, D) along which the distance is large: uniform ones through a linear map found by ascent.

    Maximises the distance, divided by the norm of the features, minus the mean |cosine| between the directions.
    """
    scale = torch.cat([first, second]).square().sum(dim=1).mean().clamp_min(_TINY)
    mapping = torch.eye(directions.shape[1], device=directions.device)
    for _ in range(_MAP_STEPS):
        mapping = mapping.detach().requires_grad_()
        mapped = functional.normalize(directions @ mapping, dim=1)
        gain = (power_1d(first @ mapped.T, second @ mapped.T).mean() / scale + _TINY).sqrt()
        (slope,) = torch.autograd.grad(gain - _COLLAPSE_WEIGHT * (mapped @ mapped.T).abs().mean(), mapping)
        mapping = mapping + _MAP_RATE * slope / slope.norm().clamp_min(1e-12) * mapping.shape[0] ** 0.5
    return functional.normalize(directions @ mapping, dim=1).detach()
