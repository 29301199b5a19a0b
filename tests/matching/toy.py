"""A toy crystal: an orthorhombic reciprocal lattice with random intensities of the Laue group mmm, and its patterns.

What the tests of learning and matching need, without the physics of the method: pairs and queries in seconds.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.pattern_files import PLAIN, UNSEEN, Pairs, Queries

SYMMETRY = np.stack([np.diag(signs) for signs in ((1.0, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))])
_WAVELENGTH_A = 0.0251
_SPOTS = 72  # strongest of a pattern that are drawn


@dataclass(frozen=True)
class Toy:
    """Reciprocal vectors (K, 3) in 1/Å, their intensities (K,), and the camera."""

    vectors: Tensor
    intensities: Tensor
    side_px: int = 64
    pixel_size_per_a: float = 0.025
    spot_px: float = 1.0
    thickness_a: float = 100.0


def toy_crystal(seed: int = 0, side_px: int = 64) -> Toy:
    """A crystal with cell 7.4 × 4.93 × 2.534 Å whose intensities follow from the seed."""
    cell = torch.tensor([7.40, 4.93, 2.534])
    pixel = 0.025 * 64 / side_px
    furthest = 0.5 * side_px * pixel
    index = torch.cartesian_prod(*(torch.arange(-8.0, 9.0) for _ in range(3)))
    vectors = index / cell
    length = vectors.norm(dim=1)
    inside = (length > 1e-6) & (length < furthest)
    generator = torch.Generator().manual_seed(seed)
    table = -torch.log(torch.rand(9, 9, 9, generator=generator).clamp_min(1e-6))
    absolute = index.abs().long()
    drawn = table[absolute[:, 0], absolute[:, 1], absolute[:, 2]] * torch.exp(-6.0 * length.square())
    return Toy(vectors[inside], drawn[inside] * (drawn[inside] > 0), side_px, pixel)


def patterns(toy: Toy, rotation: Tensor, distortion: Tensor | None = None, centre: Tensor | None = None) -> Tensor:
    """Kinematic patterns (N, n, n) of orientations (N, 3, 3), not normalised; distortion (N, 2, 2), centre (N, 2)."""
    lab = torch.einsum("nij,kj->nki", rotation, toy.vectors)  # (N, K, 3)
    k0 = 1 / _WAVELENGTH_A
    # Beam along +z, k = (0, 0, k0): the sphere's excitation error along z
    error = torch.sqrt(k0**2 - lab[..., 0] ** 2 - lab[..., 1] ** 2) - (k0 + lab[..., 2])
    weight = toy.intensities * torch.sinc(error * toy.thickness_a).square()
    top, place = weight.topk(min(_SPOTS, weight.shape[1]), dim=1)
    x, y = (lab[..., axis].gather(1, place) / toy.pixel_size_per_a for axis in (0, 1))
    spot = torch.stack([y, x], dim=-1)
    if distortion is not None:
        spot = torch.einsum("nij,nkj->nki", distortion, spot)
    if centre is not None:
        spot = spot + centre[:, None]
    axis = torch.arange(toy.side_px) - toy.side_px // 2
    profile = torch.exp(-0.5 * ((axis - spot[..., None]) / toy.spot_px) ** 2)  # (N, K, 2, n)
    return torch.einsum("nk,nky,nkx->nyx", top, profile[:, :, 0], profile[:, :, 1])


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Uniform (N, 3, 3)."""
    q = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1)
    w, x, y, z = q.unbind(1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def small_turns(count: int, sigma_deg: float, generator: torch.Generator) -> Tensor:
    """Rotations (N, 3, 3) about random axes."""
    a, b, c = (math.radians(sigma_deg) * torch.randn(3, count, generator=generator)).unbind(0)
    zero = torch.zeros_like(a)
    return torch.linalg.matrix_exp(torch.stack([zero, -c, b, c, zero, -a, -b, a, zero], dim=1).reshape(-1, 3, 3))


def observed(toy: Toy, rotation: Tensor, generator: torch.Generator, mosaic_deg: float = 0.5) -> tuple[Tensor, Tensor]:
    """Expected shares of spots and of background (N, n, n), each with a distortion, a centre and a stop of its own."""
    count, n = len(rotation), toy.side_px
    scale = n / 64

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    length, ellipticity, axis = uniform(0.98, 1.02), uniform(0, 0.03), uniform(0, math.pi)
    c, s = (2 * axis).cos(), (2 * axis).sin()
    stretch = torch.stack([1 + ellipticity * c, ellipticity * s, ellipticity * s, 1 - ellipticity * c], dim=1)
    distortion = length[:, None, None] * stretch.reshape(-1, 2, 2)
    centre = 0.7 * scale * torch.randn(count, 2, generator=generator)
    spots = torch.zeros(count, n, n)
    for _ in range(6):
        spots += patterns(toy, small_turns(count, mosaic_deg, generator) @ rotation, distortion, centre)
    grid = torch.arange(n) - n // 2
    y, x = grid[:, None] - centre[:, :1, None], grid - centre[:, 1:, None]
    radius, angle = torch.hypot(y, x), torch.atan2(y, x)
    halo = torch.exp(-radius / (scale * uniform(6, 10)[:, None, None]))
    ring = torch.exp(-0.5 * ((radius - scale * uniform(9, 12)[:, None, None]) / (3 * scale)) ** 2)
    background = halo + uniform(0.1, 0.4)[:, None, None] * ring + 0.02
    wire = (torch.remainder(angle - uniform(0, 2 * math.pi)[:, None, None], 2 * math.pi) - math.pi).abs() * radius
    seen = ((radius > 3 * scale) & (wire > 1.2 * scale)).float()
    return normalised(spots * seen), normalised(background * seen)


def normalised(images: Tensor) -> Tensor:
    return images / images.sum(dim=(1, 2), keepdim=True).clamp_min(1e-20)


def calculated(toy: Toy, rotation: Tensor) -> Tensor:
    """Shares of the spots (N, n, n)."""
    return torch.cat([normalised(patterns(toy, some)) for some in rotation.split(256)])


def beam_directions(count: int) -> Tensor:
    """About `count` directions over the fundamental zone of 222 (x, y ≥ 0)."""
    index = torch.arange(4 * count) + 0.5
    z = 1 - 2 * index / (4 * count)
    angle = math.pi * (1 + 5**0.5) * index
    across = (1 - z * z).sqrt()
    points = torch.stack([across * angle.cos(), across * angle.sin(), z], dim=1)
    return points[(points[:, 0] >= 0) & (points[:, 1] >= 0)]


def to_beam(directions: Tensor) -> Tensor:
    """The smallest rotations (N, 3, 3) that bring directions (N, 3) to z."""
    x, y, z = directions.unbind(1)
    near = (1 + z).clamp_min(1e-9)
    rows = [1 - x * x / near, -x * y / near, -x, -x * y / near, 1 - y * y / near, -y, x, y, z]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def is_tested(rotation: Tensor, margin_deg: float = 0.0) -> Tensor:
    """Whether beam directions fall into a tested cell, or within a margin of one."""
    d = rotation[:, 2].abs()
    centres = beam_directions(60).abs()
    cosine = d @ centres.T
    angle = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
    tested = torch.arange(len(centres)) % 5 == 0
    return angle[:, tested].amin(dim=1) < angle[:, ~tested].amin(dim=1) + margin_deg


def make_pairs(toy: Toy, count: int, seed: int) -> Pairs:
    """Training pairs outside of the tested cells."""
    generator = torch.Generator().manual_seed(seed)
    rotation = random_rotations(4 * count, generator)
    rotation = rotation[~is_tested(rotation, 6.0)][:count]
    parts = [observed(toy, some, generator) for some in rotation.split(256)]
    spots, background = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return Pairs(calculated(toy, rotation).numpy(), spots, background, rotation.double().numpy())


def make_queries(
    toy: Toy, gallery: int, count: int, dose_e: tuple[float, ...], seed: int, share: float = 1.0
) -> Queries:
    """Plain queries of unseen cells at every dose."""
    generator = torch.Generator().manual_seed(seed)
    frames = to_beam(beam_directions(gallery))
    rotation = random_rotations(20 * count, generator)
    rotation = rotation[is_tested(rotation)][:count]
    spots, background = observed(toy, rotation, generator)
    counts = torch.cat([torch.poisson(dose * (spots + share * background), generator) for dose in dose_e])
    total, repeats = len(counts), len(dose_e)
    return Queries(
        gallery=calculated(toy, frames).numpy(),
        gallery_rotation=frames.double().numpy(),
        counts=counts.numpy(),
        rotation=rotation.double().repeat(repeats, 1, 1).numpy(),
        second_rotation=np.zeros((total, 3, 3)),
        kind=np.full(total, PLAIN),
        region=np.full(total, UNSEEN),
        dose_e=np.repeat(np.array(dose_e, dtype=float), len(rotation)),
        symmetry=SYMMETRY,
    )
