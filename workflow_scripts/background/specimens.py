"""Specimens as a full-field X-ray microscope sees them: particles, fibres, foams and shells by Beer–Lambert's law."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

PRIMITIVES = 24  # of one specimen, at most
_BATCH = 64  # specimens that are drawn at once
FOAM_SHARE, FIBRE_SHARE, BARE_SHARE = 0.25, 0.25, 0.2  # of the specimens; the rest are particles and shells


def log_transmission(count: int, side_px: int, generator: torch.Generator) -> Tensor:
    """ln of the transmission of random specimens, behind a little free-space propagation.

    A fifth of them is bare. The others are a sum of projected ellipsoids, shells, fibres or a foam, of which the
    largest optical density is drawn between 0.05 and 2.5 and the strength of the Fresnel edges between 0 and 1.5 px².

    Args:
        count: specimens, N.
        side_px: pixels along each side of their field of view.
        generator: the only source of randomness, on the device of the result.

    Returns:
        (N, side_px, side_px) float32.
    """
    parts = [_specimens(min(_BATCH, count - start), side_px, generator) for start in range(0, count, _BATCH)]
    return torch.cat(parts)


def propagated(transmission: Tensor, strength_px2: Tensor | float) -> Tensor:
    """Intensity (..., H, W) of a homogeneous object a short way behind it: I = (1 − a ∇²) T.

    Transport of intensity for T = exp(−μ t) and a phase proportional to ln T, Paganin et al.
    (doi:10.1046/j.1365-2818.2002.01010.x), eq. 7; a = z λ δ / (4π β p²) in px². Edges become bright outside and dark
    inside, the sum is kept. ∇² is the five-point stencil, with a border that repeats the outermost pixels.
    """
    padded = torch.nn.functional.pad(transmission[None], (1, 1, 1, 1), mode="replicate")[0]
    neighbours = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return transmission - strength_px2 * (neighbours - 4 * transmission)


def _specimens(count: int, side_px: int, generator: torch.Generator) -> Tensor:
    random = _uniform(generator)
    kind = random(count)  # decides between the four kinds
    foam = kind < FOAM_SHARE
    fibres = (kind >= FOAM_SHARE) & (kind < FOAM_SHARE + FIBRE_SHARE)
    bare = kind > 1 - BARE_SHARE

    y, x = _grid(side_px, generator.device)
    solids = _ellipsoids(foam, y, x, random)
    thickness = torch.where(fibres[:, None, None], _fibres(count, y, x, random), solids)
    thickness = _smoothed(thickness)
    largest = thickness.amax((1, 2), keepdim=True).clamp(min=1e-6)
    density = torch.exp(random(count, low=math.log(0.05), high=math.log(2.5)))
    density = torch.where(bare, torch.zeros_like(density), density)
    transmission = torch.exp(-density[:, None, None] * thickness / largest)
    strength = random(count, high=1.5)[:, None, None]
    return torch.log(propagated(transmission, strength).clamp(min=1e-3))


def _ellipsoids(foam: Tensor, y: Tensor, x: Tensor, random: Callable) -> Tensor:
    """Projected thickness (N, H, W), in shares of the side, of ellipsoids, some hollow; of foams many thin shells."""
    count = len(foam)
    shape = count, PRIMITIVES
    centre_y, centre_x = random(*shape, low=-0.1, high=1.1), random(*shape, low=-0.1, high=1.1)
    # A foam clusters around one point.
    for centre in (centre_y, centre_x):
        gathered = random(count, 1, low=0.1, high=0.9) + 0.25 * (centre - 0.5)
        centre.copy_(torch.where(foam[:, None], gathered, centre))
    radius = torch.exp(random(*shape, low=math.log(0.015), high=math.log(0.45)))
    radius = torch.where(foam[:, None], random(*shape, low=0.04, high=0.18), radius)
    aspect = random(*shape, low=0.5, high=1.0)
    angle = random(*shape, high=math.pi)
    present = random(*shape) < torch.where(foam, 1.0, random(count))[:, None]
    weight = present * random(*shape, low=0.2, high=1.0)
    hollow = torch.where(foam[:, None], random(*shape, low=0.75, high=0.95), random(*shape, low=-1.0, high=0.95))

    total = torch.zeros(count, *y.shape, device=y.device)
    for k in range(PRIMITIVES):
        dy, dx = y - centre_y[:, k, None, None], x - centre_x[:, k, None, None]
        cos, sin = torch.cos(angle[:, k, None, None]), torch.sin(angle[:, k, None, None])
        along, across = cos * dx + sin * dy, (cos * dy - sin * dx) / aspect[:, k, None, None]
        distance2 = (along**2 + across**2) / radius[:, k, None, None] ** 2
        outer = (1 - distance2).clamp(min=0).sqrt()
        inner_share = hollow[:, k, None, None].clamp(min=0)
        inner = (inner_share**2 - distance2).clamp(min=0).sqrt()
        total += (weight * radius)[:, k, None, None] * (outer - inner)
    return total


def _fibres(count: int, y: Tensor, x: Tensor, random: Callable) -> Tensor:
    """Projected thickness (N, H, W), in shares of the side, of bent cylinders."""
    total = torch.zeros(count, *y.shape, device=y.device)
    for _ in range(PRIMITIVES // 3):
        angle, offset, bend = (
            random(count, high=math.pi),
            random(count, low=-0.5, high=0.5),
            random(count, low=-0.6, high=0.6),
        )
        radius = torch.exp(random(count, low=math.log(0.008), high=math.log(0.08)))
        weight = (random(count) < 0.5) * random(count, low=0.2, high=1.0)
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        along, across = cos * (x - 0.5) + sin * (y - 0.5), cos * (y - 0.5) - sin * (x - 0.5)
        distance = across - offset[:, None, None] - bend[:, None, None] * along**2
        total += weight[:, None, None] * (radius[:, None, None] ** 2 - distance**2).clamp(min=0).sqrt()
    return total


def _smoothed(image: Tensor) -> Tensor:
    """The microscope's resolution: a binomial filter of about 0.7 px."""
    kernel = torch.tensor([0.25, 0.5, 0.25], device=image.device)
    padded = torch.nn.functional.pad(image[:, None], (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.conv2d(padded, (kernel[:, None] * kernel)[None, None])[:, 0]


def _grid(side_px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions y, x (side, side) of the pixels' centres in shares of the side."""
    line = (torch.arange(side_px, device=device) + 0.5) / side_px
    return torch.meshgrid(line, line, indexing="ij")


def _uniform(generator: torch.Generator) -> Callable[..., Tensor]:
    """A function that draws uniform numbers of a shape between two bounds."""

    def draw(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)

    return draw
