"""Analytic particles: two stacked seven-fold rings, one particle without symmetry, and a family of random ones."""

import math

import numpy as np

from workflow_scripts.alignment.simulation.particles import Blobs, Particle, particle, project, random_rotations

_DIAMETERS = (0.4, 0.7)  # range for random particles, as fractions of the side of the box
_GRAIN_SEED = 1
_SYMMETRY_FOLDS = {"groel_side": 2, "groel_top": 7, "asymmetric": 1}
_GRAINS = 24  # Gaussians in a domain of a random particle
_HELICES, _BEADS, _HELIX_A = 24, 8, 4.0  # rods in a domain of a built-in particle, Gaussians in one, their width in Å

# A subunit of GroEL, after Braig et al. (doi:10.1038/371578a0), as its three domains: height above the equator, radius
# and azimuth (degrees) of the centre, radius of the domain, weight. Apical domains lean to one side, so the density
# has the point group D7 and no mirror.
_GROEL_DOMAINS = (
    ((17.0, 45.0, 0.0), 14.0, 0.45),
    ((38.0, 50.0, 9.0), 8.0, 0.15),
    ((57.0, 41.0, 16.0), 13.0, 0.40),
)
# Domains [z, y, x] of the particle without symmetry, their radii, all in Å, and their weights.
_ASYMMETRIC_DOMAINS = (
    ((0.0, -8.0, -22.0), 30.0, 1.00),
    ((6.0, 18.0, 2.0), 23.0, 0.55),
    ((-10.0, -34.0, 14.0), 19.0, 0.40),
    ((12.0, 2.0, 34.0), 16.0, 0.30),
    ((-4.0, 42.0, -14.0), 13.0, 0.20),
    ((0.0, 32.0, 34.0), 11.0, 0.15),
    ((8.0, -52.0, -26.0), 12.0, 0.18),
)


def _grains(centres: np.ndarray, radii: np.ndarray, weights: np.ndarray, generator: np.random.Generator) -> Blobs:
    """Balls filled with `_GRAINS` small Gaussians each, an eighth to a quarter as wide as the ball's radius."""
    directions = generator.standard_normal((len(centres), _GRAINS, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    offsets = directions * radii[:, None, None] * np.cbrt(generator.random((len(centres), _GRAINS, 1)))
    widths = radii[:, None] * generator.uniform(0.12, 0.25, (len(centres), _GRAINS))
    return Blobs((centres[:, None] + offsets).reshape(-1, 3), widths.reshape(-1), np.repeat(weights / _GRAINS, _GRAINS))


def _helices(centres: np.ndarray, radii: np.ndarray, weights: np.ndarray, generator: np.random.Generator) -> Blobs:
    """Domains of `_HELICES` straight rods each, about as long as the domain's radius: the α-helices of a protein."""
    shape = len(centres), _HELICES
    directions, offsets = generator.standard_normal((2, *shape, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    offsets *= 0.6 * np.cbrt(generator.random((*shape, 1))) / np.linalg.norm(offsets, axis=-1, keepdims=True)
    along = np.linspace(-0.5, 0.5, _BEADS)[:, None]
    beads = offsets[:, :, None] + along * directions[:, :, None]  # (domains, helices, beads, 3), in radii
    positions_a = centres[:, None, None] + radii[:, None, None, None] * beads
    count = _HELICES * _BEADS
    return Blobs(positions_a.reshape(-1, 3), np.full(len(centres) * count, _HELIX_A), np.repeat(weights / count, count))


def _touching_centres(radii: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Centres (D, 3) of balls, each of which overlaps a randomly chosen earlier one a little."""
    centres = np.zeros((len(radii), 3))
    for index in range(1, len(radii)):
        neighbour = generator.integers(index)
        direction = generator.standard_normal(3)
        distance = 0.85 * (radii[index] + radii[neighbour])
        centres[index] = centres[neighbour] + distance * direction / np.linalg.norm(direction)
    return centres


def _copies_about_z(blobs: Blobs, fold: int) -> Blobs:
    """The density repeated about z: point group C_fold."""
    angles = 2 * math.pi * np.arange(fold) / fold
    z, y, x = blobs.positions_a.T
    copies = [
        np.stack([z, x * math.sin(angle) + y * math.cos(angle), x * math.cos(angle) - y * math.sin(angle)], axis=1)
        for angle in angles
    ]
    return Blobs(np.concatenate(copies), np.tile(blobs.widths_a, fold), np.tile(blobs.weights, fold))


def groel_blobs() -> Blobs:
    """Two seven-fold rings back to back, 150 Å high and 140 Å wide: D7 about z, with a two-fold axis along x."""
    generator = np.random.default_rng(_GRAIN_SEED)
    polar, radii, weights = (np.array(column) for column in zip(*_GROEL_DOMAINS, strict=True))
    height, radius, azimuth = polar[:, 0], polar[:, 1], np.radians(polar[:, 2])
    centres = np.stack([height, radius * np.sin(azimuth), radius * np.cos(azimuth)], axis=1)
    ring = _copies_about_z(_helices(centres, radii, weights, generator), 7)
    other = ring.positions_a * np.array([-1.0, -1.0, 1.0])
    return Blobs(np.concatenate([ring.positions_a, other]), np.tile(ring.widths_a, 2), np.tile(ring.weights, 2))


def asymmetric_blobs() -> Blobs:
    """Seven unequal domains, 130 Å long."""
    generator = np.random.default_rng(_GRAIN_SEED)
    centres, radii, weights = (np.array(column) for column in zip(*_ASYMMETRIC_DOMAINS, strict=True))
    return _helices(centres, radii, weights, generator).centred()


def built_in_particle(name: str, n: int, pixel_size_a: float) -> Particle:
    """A built-in particle.

    Args:
        name: "groel_top", two stacked seven-fold rings along the seven-fold axis (C7 in the plane); "groel_side", along
            a two-fold axis (C2: rotated by 180° it looks the same); "asymmetric", which no rotation maps to itself.
        n: pixels along each side.
        pixel_size_a: Å per pixel; the particles are 130 Å to 170 Å long.

    Raises:
        ValueError: the box is too small.
    """
    blobs = asymmetric_blobs() if name == "asymmetric" else groel_blobs()
    if name == "groel_side":
        # The two-fold axis x along the beam, the seven-fold axis along y.
        blobs = blobs.rotated(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    return particle(name, project(blobs, n, pixel_size_a), pixel_size_a, _SYMMETRY_FOLDS[name])


def random_particle(seed: int, n: int, pixel_size_a: float) -> Particle:
    """A random particle to train on: four to ten domains of small Gaussians, seen from a random direction.

    A third of these particles are rings of two to seven copies about an axis, at a random tilt. The diameter is uniform
    in 40–70 % of the box, so that the particle stays inside when it is shifted by a tenth of the box. The built-in
    particles have other domains, filled with rods.

    Args:
        seed: the only source of randomness.
        n: pixels along each side; the particle grows with the box.
        pixel_size_a: Å per pixel.
    """
    generator = np.random.default_rng(seed)
    radii = generator.uniform(0.5, 1.2, int(generator.integers(4, 11)))
    weights = radii**3 * generator.uniform(0.7, 1.3, len(radii))
    blobs = _grains(_touching_centres(radii, generator), radii, weights, generator).centred()
    if generator.random() < 1 / 3:
        outward = np.array([0.0, 0.0, generator.uniform(1.0, 2.5)])
        ring = Blobs(blobs.positions_a + outward, blobs.widths_a, blobs.weights)
        blobs = _copies_about_z(ring, int(generator.integers(2, 8)))
    blobs = blobs.rotated(random_rotations(1, generator)[0])
    scale_a = 0.5 * generator.uniform(*_DIAMETERS) * n * pixel_size_a / blobs.shadow_radius_a()
    sized = Blobs(blobs.positions_a * scale_a, blobs.widths_a * scale_a, blobs.weights)
    return particle(f"random_{seed}", project(sized, n, pixel_size_a), pixel_size_a)
