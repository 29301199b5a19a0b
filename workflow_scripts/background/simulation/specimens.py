"""Specimens as a full-field X-ray microscope sees them: projections by Beer–Lambert's law, with Fresnel edges."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from workflow_scripts.background.simulation.backgrounds import pixel_grid

_BATCH = 64  # specimens that are drawn at once
_BARE, _FOAMS, _FIBRES, _POWDERS = 0.2, 0.25, 0.2, 0.1  # fractions of the specimens; the rest are particles and shells
_SOLIDS, _THREADS, _GRAINS = 16, 6, 150  # largest numbers in one specimen
_FAINTEST = 0.5  # lower limit of intensity over transmission beside edges, where the transport of intensity fails

Pair = tuple[Tensor, Tensor]  # along y and along x


def log_transmission(count: int, side_px: int, generator: torch.Generator) -> Tensor:
    """ln of the transmission of random specimens after a short free-space propagation.

    A fifth are empty. The others are projections of particles and shells (from 2 px to larger than the field of view,
    whose borders they cross), of a foam of touching shells, of fibres or of a powder. The largest optical density is
    drawn between 0.08 and 2.5. The strength of Fresnel edges is drawn too: from none to a fifth brighter than the open
    beam, even for specimens that hardly absorb.

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
    """Intensity (..., H, W) a short distance behind a homogeneous object: I = (1 − a ∇²) T.

    Transport of intensity for T = exp(−μ t) and a phase proportional to ln T, Paganin et al.
    (doi:10.1046/j.1365-2818.2002.01010.x), eq. 7; a = z δ / (μ p²) in px², with distance z, refractive index decrement
    δ, absorption coefficient μ and pixel size p. Edges become bright outside and dark inside; the total intensity is
    conserved. ∇² is the five-point stencil with replicated borders.
    """
    padded = torch.nn.functional.pad(transmission[None], (1, 1, 1, 1), mode="replicate")[0]
    neighbours = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return transmission - strength_px2 * (neighbours - 4 * transmission)


def _specimens(count: int, side_px: int, generator: torch.Generator) -> Tensor:
    random = uniform(generator)
    y, x = pixel_grid(side_px, generator.device)
    thickness = torch.zeros(count, side_px, side_px, device=generator.device)
    place, reached = random(count), _BARE
    for share, draw in ((_FOAMS, _foams), (_FIBRES, _fibres), (_POWDERS, _powders), (1.0, _solids)):
        rows = torch.nonzero((place >= reached) & (place < reached + share))[:, 0]
        if len(rows):
            thickness[rows] = draw(len(rows), y, x, random)
        reached += share

    largest = thickness.amax((1, 2), keepdim=True).clamp(min=1e-6)
    density = torch.exp(random(count, 1, 1, low=math.log(0.08), high=math.log(2.5)))
    resolution_px = torch.exp(random(count, low=math.log(0.6), high=math.log(max(0.8, 0.012 * side_px))))
    transmission = torch.exp(-density * _blurred(thickness / largest, resolution_px))
    # An edge as wide as the resolution changes the intensity by about 0.2 · a · density / resolution².
    edges = torch.exp(random(count, 1, 1, low=math.log(0.05), high=math.log(4.0)))
    image = propagated(transmission, edges * resolution_px[:, None, None] ** 2 / density)
    return torch.log(torch.maximum(image, _FAINTEST * transmission))


def _solids(count: int, y: Tensor, x: Tensor, random: Callable) -> Tensor:
    """Projected thickness (N, H, W), in units of the side, of ellipsoids of all sizes, some of them hollow."""
    shape = count, _SOLIDS
    radius = torch.exp(random(*shape, low=math.log(1 / len(y)), high=0.0))
    # Most of them overlap the field of view, whatever their size; small ones are denser in some specimens
    centres = tuple(0.5 + random(*shape, low=-1.0) * (0.5 + 0.7 * radius) for _ in range(2))
    present = random(*shape) < random(count, 1, low=0.1)
    weight = present * random(*shape, low=0.2) * radius ** -random(count, 1)
    hollow = random(*shape, low=-1.0, high=0.95)
    return _ellipsoids((y, x), centres, radius, weight, hollow, random)


def _foams(count: int, y: Tensor, x: Tensor, random: Callable) -> Tensor:
    """Projected thickness (N, H, W), in units of the side, of thin shells clustered around one point."""
    shape = count, _SOLIDS
    spread = random(count, 1, low=0.2, high=1.3)
    centres = tuple(random(count, 1) + spread * random(*shape, low=-0.5, high=0.5) for _ in range(2))
    radius = random(count, 1, low=0.06, high=0.35) * random(*shape, low=0.4)
    hollow = random(count, 1, low=0.3, high=0.95).expand(shape)
    return _ellipsoids((y, x), centres, radius, random(*shape, low=0.3), hollow, random)


def _ellipsoids(grid: Pair, centres: Pair, radius: Tensor, weight: Tensor, hollow: Tensor, random: Callable) -> Tensor:
    """Sum of the chord lengths (N, H, W) through K ellipsoids per specimen; parameters are (N, K).

    hollow: inner radius over outer radius; solid if not positive.
    """
    aspect, angle = random(*radius.shape, low=0.5), random(*radius.shape, high=math.pi)
    total = torch.zeros(len(radius), *grid[0].shape, device=radius.device)
    for k in range(radius.shape[1]):
        dy, dx = (place - centre[:, k, None, None] for place, centre in zip(grid, centres, strict=True))
        cos, sin = torch.cos(angle[:, k, None, None]), torch.sin(angle[:, k, None, None])
        along, across = cos * dx + sin * dy, (cos * dy - sin * dx) / aspect[:, k, None, None]
        distance2 = (along**2 + across**2) / radius[:, k, None, None] ** 2
        outer = (1 - distance2).clamp(min=0).sqrt()
        inner = (hollow[:, k, None, None].clamp(min=0) ** 2 - distance2).clamp(min=0).sqrt()
        total += (weight * radius)[:, k, None, None] * (outer - inner)
    return total


def _fibres(count: int, y: Tensor, x: Tensor, random: Callable) -> Tensor:
    """Projected thickness (N, H, W), in units of the side, of bent cylinders."""
    total = torch.zeros(count, *y.shape, device=y.device)
    for k in range(_THREADS):
        angle, offset, bend = (
            random(count, 1, 1, low=low, high=high) for low, high in ((0.0, math.pi), (-0.5, 0.5), (-0.6, 0.6))
        )
        radius = torch.exp(random(count, 1, 1, low=math.log(1 / len(y)), high=math.log(0.12)))
        weight = (random(count, 1, 1) < (0.5 if k else 1.0)) * random(count, 1, 1, low=0.2)
        along = torch.cos(angle) * (x - 0.5) + torch.sin(angle) * (y - 0.5)
        across = torch.cos(angle) * (y - 0.5) - torch.sin(angle) * (x - 0.5)
        distance = across - offset - bend * along**2
        total += weight * (radius**2 - distance**2).clamp(min=0).sqrt()
    return total


def _powders(count: int, y: Tensor, x: Tensor, random: Callable) -> Tensor:
    """Projected thickness (N, H, W), in px, of equal small spheres, clustered or spread over the field of view."""
    side_px = len(y)
    spread, number = random(count, 1, low=0.1, high=1.5), random(count, 1, low=0.03)
    centres = [random(count, 1) + spread * random(count, _GRAINS, low=-0.5, high=0.5) for _ in range(2)]
    row, column = ((centre * side_px).floor().long() for centre in centres)
    inside = (row >= 0) & (row < side_px) & (column >= 0) & (column < side_px)
    grains = torch.zeros(count, side_px * side_px, device=y.device)
    weight = inside * (random(count, _GRAINS) < number) * random(count, _GRAINS, low=0.3)
    grains.scatter_add_(1, (row * side_px + column).clamp(0, side_px**2 - 1), weight)
    # All spheres of a specimen by one convolution, which is faster than one by one
    radius_px = random(count, 1, 1, low=1.0, high=max(2.5, 0.03 * side_px))
    distance = torch.fft.fftfreq(side_px, 1 / side_px, device=y.device)
    sphere = (radius_px**2 - distance[:, None] ** 2 - distance**2).clamp(min=0).sqrt()
    spectrum = torch.fft.rfft2(grains.view(count, side_px, side_px)) * torch.fft.rfft2(sphere)
    return torch.fft.irfft2(spectrum, s=(side_px, side_px)).clamp(min=0)


def _blurred(image: Tensor, sigma_px: Tensor) -> Tensor:
    """Images (N, H, W) blurred by Gaussians of σ (N,), the resolution of the microscope; borders are mirrored."""
    side_px, margin_px = image.shape[-1], min(image.shape[-1] - 1, math.ceil(3 * float(sigma_px.max())))
    padded = torch.nn.functional.pad(image[:, None], (margin_px,) * 4, mode="reflect")[:, 0]
    wide_px = padded.shape[-1]
    rows, columns = torch.fft.fftfreq(wide_px, device=image.device), torch.fft.rfftfreq(wide_px, device=image.device)
    damping = torch.exp(-2 * (math.pi * sigma_px[:, None, None]) ** 2 * (rows[:, None] ** 2 + columns**2))
    smooth = torch.fft.irfft2(torch.fft.rfft2(padded) * damping, s=(wide_px, wide_px))
    return smooth[:, margin_px : margin_px + side_px, margin_px : margin_px + side_px].clamp(min=0)


def uniform(generator: torch.Generator) -> Callable[..., Tensor]:
    """A function that draws an array of uniform random numbers: of a given shape, between two bounds."""

    def draw(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)

    return draw
