"""Wasserstein distances of two sets of features, each from distances in one dimension, which sorting gives exactly.

W_p of two sets of N numbers is (mean |x₍ᵢ₎ − y₍ᵢ₎|^p)^(1/p) of the sorted ones. In more dimensions the sets are seen
along many directions (Bonneel 2015, doi:10.1007/s10851-014-0506-3). All kinds here are the mean over the set and take
the root last, so that a distance has the unit of the features and does not grow with the batch; the released code of
the recipe sums over the set in one kind and leaves the root out in another.

- sliced: (E_θ W_p^p)^(1/p) over uniform directions θ.
- generalised: the same, seen by the circular function |x − r θ| instead of the projection (Kolouri 2019,
  arXiv:1902.00434, eq. 14), r the root mean square norm of both sets.
- max_sliced: the largest W_p over directions (Deshpande 2019, arXiv:1904.05877), by ascent on the sphere.
- distributional: over directions of a distribution that is learned to see much and is kept from collapsing
  (Nguyen 2021, arXiv:2002.07367), here a linear map of uniform directions.
"""

import torch
from torch import Tensor
from torch.nn import functional

P = 2
_ASCENT_STEPS = 20
_ASCENT_RATE = 0.5  # of a unit vector, decaying to 0
_MAP_STEPS = 10
_MAP_RATE = 0.1
_COLLAPSE_WEIGHT = 1.0  # of the mean |cosine| between directions, beside the distance over the features' norm
_TINY = 1e-14  # the root's slope is infinite at 0

KINDS = ("sliced", "generalised", "max_sliced", "distributional")


def wasserstein(
    kind: str, first: Tensor, second: Tensor, projections: int, generator: torch.Generator, paired: bool = False
) -> Tensor:
    """W_2 of two sets, () ≥ 0.

    Args:
        kind: one of `KINDS`.
        first, second: (N, D) each.
        projections: random directions.
        generator: of the directions, on the device of the sets.
        paired: the recipe's max-sliced, which sorts an axis of length 1: rows are compared in their order.

    Raises:
        ValueError: there is no such kind, or the sets differ in shape.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(
            f"the sets have the shapes {tuple(first.shape)} and {tuple(second.shape)}; both must be (N, D)"
        )
    first, second = first.float(), second.float()
    directions = uniform_directions(projections, first.shape[1], generator)
    if kind == "sliced":
        return _root(power_1d(first @ directions.T, second @ directions.T).mean())
    if kind == "generalised":
        return _root(power_1d(*circular(first, second, directions)).mean())
    if kind == "max_sliced":
        distance = paired_power if paired else power_1d
        direction = highest_direction(first.detach(), second.detach(), directions, distance)
        return _root(distance(first @ direction[:, None], second @ direction[:, None]).mean())
    if kind == "distributional":
        spread = spread_directions(first.detach(), second.detach(), directions)
        return _root(power_1d(first @ spread.T, second @ spread.T).mean())
    raise ValueError(f"there is no distance {kind!r}; take one of {', '.join(KINDS)}")


def power_1d(first: Tensor, second: Tensor, p: float = P) -> Tensor:
    """W_p^p of the columns of (N, L) and (N, L): (L,)."""
    return (first.sort(dim=0).values - second.sort(dim=0).values).abs().pow(p).mean(dim=0)


def paired_power(first: Tensor, second: Tensor, p: float = P) -> Tensor:
    """The recipe's: as if each row of (N, L) were a set of its own, sorted along an axis of length 1: (L,)."""
    first, second = first[:, None].sort(dim=1).values, second[:, None].sort(dim=1).values
    return (first - second).abs().pow(p).mean(dim=(0, 1))


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
    highest, top = best, distance(first @ best[:, None], second @ best[:, None]).sum()
    for step in range(_ASCENT_STEPS):
        best = best.detach().requires_grad_()
        value = distance(first @ best[:, None], second @ best[:, None]).sum()
        if value > top:
            highest, top = best.detach(), value.detach()
        (slope,) = torch.autograd.grad(value, best)
        rate = _ASCENT_RATE * (1 - step / _ASCENT_STEPS)
        best = functional.normalize(best + rate * functional.normalize(slope, dim=0), dim=0)
    last = distance(first @ best[:, None], second @ best[:, None]).sum()
    return (best if last > top else highest).detach()


@torch.enable_grad()
def spread_directions(first: Tensor, second: Tensor, directions: Tensor) -> Tensor:
    """Directions (L, D) of the distribution that sees most: uniform ones through a linear map found by ascent.

    Maximises the distance over the features' norm less the mean |cosine| between the directions.
    """
    scale = torch.cat([first, second]).square().sum(dim=1).mean().clamp_min(_TINY)
    mapping = torch.eye(directions.shape[1], device=directions.device)
    for _ in range(_MAP_STEPS):
        mapping = mapping.detach().requires_grad_()
        seen = functional.normalize(directions @ mapping, dim=1)
        gain = (power_1d(first @ seen.T, second @ seen.T).mean() / scale + _TINY).sqrt()
        (slope,) = torch.autograd.grad(gain - _COLLAPSE_WEIGHT * (seen @ seen.T).abs().mean(), mapping)
        mapping = mapping + _MAP_RATE * slope / slope.norm().clamp_min(1e-12) * mapping.shape[0] ** 0.5
    return functional.normalize(directions @ mapping, dim=1).detach()


def _root(power: Tensor) -> Tensor:
    return power.clamp_min(_TINY) ** (1 / P)
