"""Particles as sums of three-dimensional Gaussians, and their projections."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Narrower Gaussians are broadened to this width: its transform falls to exp(−π² σ² / 2) = 0.1 % at Nyquist
NARROWEST_PX = 1.2
_ATOMS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Particle:
    """The noise-free image of a particle from one direction: the ideal class average.

    name: in stacks and tables.
    image: float32 (n, n) [y, x], bright inside, 0 outside, variance 1 over the box; rotation centre at [n//2, n//2].
    pixel_size_a: Å per pixel of the image.
    symmetry_fold: n of C_n in the plane: the image looks the same after a rotation by 360°/n.
    width_ratio: side of the source in pixels over side of the image in pixels; 1 if nothing was resampled.
    """

    name: str
    image: Tensor
    pixel_size_a: float
    symmetry_fold: int = 1
    width_ratio: float = 1.0


@dataclass(frozen=True)
class Blobs:
    """A density: Gaussians in three dimensions.

    positions_a: float64 (K, 3) [z, y, x] in Å from the rotation centre; the beam runs along z.
    widths_a: (K,) standard deviations in Å.
    weights: (K,) integrals.
    """

    positions_a: np.ndarray
    widths_a: np.ndarray
    weights: np.ndarray

    def centred(self) -> "Blobs":
        """The same density with its centre of mass at the rotation centre."""
        centre = np.average(self.positions_a, axis=0, weights=self.weights)
        return Blobs(self.positions_a - centre, self.widths_a, self.weights)

    def rotated(self, rotation: np.ndarray) -> "Blobs":
        """The density rotated by a (3, 3) matrix that acts on [z, y, x]."""
        return Blobs(self.positions_a @ np.asarray(rotation).T, self.widths_a, self.weights)

    def shadow_radius_a(self) -> float:
        """Radius in Å of the circle, in projection, that encloses every Gaussian up to twice its width."""
        return float((np.linalg.norm(self.positions_a[:, 1:], axis=1) + 2 * self.widths_a).max())


def random_rotations(count: int, generator: np.random.Generator) -> np.ndarray:
    """Orientations uniform on SO(3), from four normal numbers each as a quaternion.

    Shoemake, Graphics Gems III (doi:10.1016/B978-0-08-050755-2.50036-1), in Marsaglia's form.

    Returns:
        float64 (count, 3, 3).
    """
    quaternions = generator.standard_normal((4, count))
    w, x, y, z = quaternions / np.linalg.norm(quaternions, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def project(blobs: Blobs, n: int, pixel_size_a: float) -> Tensor:
    """The density integrated along the beam and sampled on a grid, in closed form, without interpolation.

    Args:
        blobs: the density; a Gaussian narrower than `NARROWEST_PX` is broadened to that.
        n: pixels along each side.
        pixel_size_a: Å per pixel.

    Returns:
        float32 (n, n) [y, x], density per Å².

    Raises:
        ValueError: the density reaches beyond the circle inscribed in the box.
    """
    if blobs.shadow_radius_a() > n // 2 * pixel_size_a:
        raise ValueError(
            f"a particle of radius {blobs.shadow_radius_a():.4g} Å does not fit into a box of {n * pixel_size_a:.4g} Å"
        )
    axis_a = (np.arange(n) - n // 2) * pixel_size_a
    image = np.zeros((n, n))
    for start in range(0, len(blobs.weights), _ATOMS_AT_ONCE):
        part = slice(start, start + _ATOMS_AT_ONCE)
        variance_a2 = np.square(np.maximum(blobs.widths_a[part], NARROWEST_PX * pixel_size_a))[:, None]
        along_y, along_x = (
            np.exp(-np.square(axis_a - blobs.positions_a[part, axis, None]) / (2 * variance_a2)) for axis in (1, 2)
        )
        image += (along_y * (blobs.weights[part, None] / (2 * math.pi * variance_a2))).T @ along_x
    return torch.from_numpy(image.astype(np.float32))


def particle(
    name: str, image: Tensor, pixel_size_a: float, symmetry_fold: int = 1, width_ratio: float = 1.0
) -> Particle:
    """A particle from an image (n, n), bright inside and 0 outside, scaled to variance 1 over the box.

    Raises:
        ValueError: the image is constant.
    """
    spread = image.double().std(correction=0)
    if not spread > 0:
        raise ValueError("an image with the same value in every pixel shows no particle")
    return Particle(name, (image / spread).float(), pixel_size_a, symmetry_fold, width_ratio)
