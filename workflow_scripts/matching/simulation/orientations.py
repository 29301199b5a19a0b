"""Orientations of a crystal under the beam: rotations, beam directions, symmetry, galleries.

An orientation is a rotation matrix R (3, 3): lab = R @ crystal, columns of cartesian coordinates (x, y, z). The beam
travels along +z of the lab; the detector's axes [y, x] are the lab's y and x. The beam direction in the crystal is
d = Rᵀ z. R = Rz(ψ) @ R0(d): R0 is the smallest rotation that brings d to z (about x where d = −z), and the in-plane
angle ψ turns the pattern from +x to +y.

Two orientations R and R S are equivalent where S is a proper rotation of the Laue group
(`structure_factors.laue_rotations`): their kinematic patterns are equal. A pattern along −d is the mirror image of that
along d, which no turn of the detector makes: the fundamental zone of beam directions is that of the proper rotations.

All arrays are float64; leading axes (...) are batches.
"""

import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

_TRIED = 6  # lattices with more, and with fewer points
_GOLDEN = math.pi * (3 - math.sqrt(5))


def rotation_about_z(angle_rad: Tensor) -> Tensor:
    """(...) angles in rad, from +x to +y → (..., 3, 3)."""
    cosine, sine = angle_rad.cos(), angle_rad.sin()
    zero, unit = torch.zeros_like(cosine), torch.ones_like(cosine)
    rows = [cosine, -sine, zero, sine, cosine, zero, zero, zero, unit]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def rotation_from_vector(vector_rad: Tensor) -> Tensor:
    """Rodrigues: (..., 3) axis times angle in rad → (..., 3, 3)."""
    x, y, z = vector_rad.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3)))


def from_direction(direction: Tensor) -> Tensor:
    """Orientations R0(d) (..., 3, 3) at in-plane angle 0; direction: (..., 3) unit vectors, the beam in the crystal."""
    x, y, z = direction.unbind(-1)
    # Rodrigues about d × z without the angle; at d = −z the axis is x.
    opposite = 1 + z < 1e-12
    share = torch.where(opposite, torch.zeros_like(z), 1 / torch.where(opposite, torch.ones_like(z), 1 + z))
    rows = [1 - x * x * share, -x * y * share, -x, -x * y * share, 1 - y * y * share, -y, x, y, z]
    smallest = torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
    half_turn_about_x = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=direction.dtype, device=direction.device))
    return torch.where(opposite[..., None, None], half_turn_about_x, smallest)


def random_rotations(number: int, generator: torch.Generator) -> Tensor:
    """(number, 3, 3) uniformly distributed: of quaternions uniform on their sphere (doi:10.1145/377939.377946)."""
    normal = torch.randn(number, 4, generator=generator, dtype=torch.float64, device=generator.device)
    w, x, y, z = (normal / normal.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def small_rotations(shape: tuple[int, ...], spread_deg: Tensor | float, generator: torch.Generator) -> Tensor:
    """(*shape, 3, 3): rotations about x, y and z each by a normal angle of this standard deviation.

    Args:
        shape: of the batch.
        spread_deg: degrees, broadcasts against the batch.
        generator: the only source of randomness.
    """
    vectors = torch.randn(*shape, 3, generator=generator, dtype=torch.float64, device=generator.device)
    spread = torch.as_tensor(spread_deg, dtype=torch.float64, device=vectors.device).deg2rad()
    return rotation_from_vector(vectors * spread[..., None])


def reduced(rotation: Tensor, symmetry: Tensor) -> Tensor:
    """The equivalent R S (..., 3, 3) of each orientation (..., 3, 3) whose beam direction lies in the zone."""
    images = rotation[..., None, :, :] @ symmetry.to(rotation)  # (..., S, 3, 3)
    best = (images[..., 2, :] @ _centre(symmetry).to(rotation)).argmax(dim=-1)
    return images.gather(-3, best[..., None, None, None].expand(*best.shape, 1, 3, 3)).squeeze(-3)


def in_zone(direction: Tensor, symmetry: Tensor) -> Tensor:
    """Whether beam directions (..., 3) lie in the fundamental zone of the proper rotations (S, 3, 3).

    The zone is 1/S of the sphere, around the rotation axis of the highest order (z if there is none): of all equivalent
    directions it contains the one nearest to this axis and, among those, nearest to a fixed direction across it.
    """
    centre = _centre(symmetry).to(direction)
    images = symmetry.to(direction) @ centre  # dᵀ S c = (Sᵀ d)ᵀ c
    return direction @ centre >= (direction @ images.T).amax(dim=-1) - 1e-12


def _centre(symmetry: Tensor) -> Tensor:
    """A direction (3,) that no rotation leaves fixed, close to the main axis."""
    matrices = symmetry.double().cpu()
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    turning = trace < 3 - 1e-6
    if turning.any():
        order = trace[turning].max()
        axes = []
        for matrix in matrices[turning & ((trace - order).abs() < 1e-3)]:
            # A rotation leaves its axis fixed, whose sign is arbitrary: towards +z, then +y, then +x
            values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
            fixed = vectors[:, values.argmax()]
            largest = next(i for i in (2, 1, 0) if fixed[i].abs() > 1e-3)
            axes.append(fixed * fixed[largest].sign())
        axis = max(axes, key=lambda fixed: [round(float(fixed[i]), 3) for i in (2, 1, 0)])
    across = torch.linalg.cross(axis, torch.tensor([0.36, 0.48, 0.80], dtype=torch.float64).roll(1))
    across = torch.linalg.cross(across / across.norm(), axis)
    centre = axis + 1e-3 * across + 1e-5 * torch.linalg.cross(axis, across)
    return centre / centre.norm()


def gallery_directions(number: int, symmetry: Tensor) -> Tensor:
    """Nearly uniform beam directions (number, 3) in the fundamental zone, the same at every call.

    The points of a Fibonacci lattice on the sphere (doi:10.1007/s11004-009-9257-x) that lie in the zone, of the lattice
    of nearly number · S points that has exactly this number there.
    """
    whole = number * len(symmetry)
    steps = [sign * step for step in range(_TRIED) for sign in (1, -1)]
    fewest = None
    for total in (whole + step for step in steps if whole + step > 0):
        points = fibonacci_sphere(total)
        inside = points[in_zone(points, symmetry)]
        if len(inside) == number:
            return inside
        if len(inside) > number and (fewest is None or len(inside) < len(fewest)):
            fewest = inside
    # No lattice fits exactly: some points are left out, evenly.
    if fewest is None:
        points = fibonacci_sphere(whole + whole // 50 + 2 * len(symmetry) + 8)
        fewest = points[in_zone(points, symmetry)]
    return fewest[torch.linspace(0, len(fewest) - 1, number, dtype=torch.float64).round().long()]


def fibonacci_sphere(number: int) -> Tensor:
    """(number, 3) points of the Fibonacci lattice, from +z to −z."""
    index = torch.arange(number, dtype=torch.float64)
    z = 1 - (2 * index + 1) / number
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * (index * _GOLDEN).cos(), radius * (index * _GOLDEN).sin(), z], dim=1)


def nearest_direction(
    directions: np.ndarray, gallery: np.ndarray, symmetry: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gallery's direction nearest to every beam direction, under the symmetry.

    The angle is the smallest misorientation that a choice from the gallery with a free in-plane angle can have, since
    two orientations with free in-plane angles can be brought as close as the angle between their beam directions.

    Args:
        directions: (Q, 3).
        gallery: (G, 3).
        symmetry: (S, 3, 3).

    Returns:
        angles in degrees (Q,), rows of the gallery (Q,), rows of the symmetry (Q,): direction ≈ gallery @ symmetry.
    """
    images = np.einsum("ga,sab->gsb", gallery, symmetry).reshape(-1, 3)
    chord, place = cKDTree(images).query(directions)
    row, operation = np.divmod(place, len(symmetry))
    return np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1))), row, operation
