"""Orientations: conventions, uniformity, the fundamental zone, galleries."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from workflow_scripts.matching.simulation.misorientation import misorientation_deg
from workflow_scripts.matching.simulation.orientations import (
    fibonacci_sphere,
    from_direction,
    gallery_directions,
    in_zone,
    nearest_direction,
    random_rotations,
    reduced,
    rotation_about_z,
    rotation_from_vector,
    small_rotations,
)

GROUPS = {"C1": 1, "C2": 2, "D2": 4, "D3": 6, "C4": 4, "D4": 8, "D6": 12, "T": 12, "O": 24}


def group(name):
    """Rotations (S, 3, 3) as scipy has them."""
    return torch.from_numpy(Rotation.create_group(name).as_matrix())


def rotations(number, seed=0):
    return random_rotations(number, torch.Generator().manual_seed(seed))


def directions(number, seed=0):
    return rotations(number, seed)[:, 2]


def floor_deg(gallery, symmetry):
    """Angles (4000,) from random beam directions to the nearest of a gallery."""
    random = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    random = random / random.norm(dim=1, keepdim=True)
    return nearest_direction(random.numpy(), gallery.numpy(), symmetry.numpy())[0]


def angle_rad(rotation):
    """Angles (N,) of rotations (N, 3, 3)."""
    return torch.from_numpy(Rotation.from_matrix(rotation.numpy()).magnitude())


def test_conventions():
    """R brings the beam direction to z; ψ turns from +x to +y."""
    beam = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
    rotation = from_direction(beam)
    assert torch.allclose(rotation @ beam[..., None], torch.tensor([0.0, 0, 1], dtype=torch.float64)[:, None])
    quarter_turn = rotation_about_z(torch.tensor(math.pi / 2, dtype=torch.float64))
    assert torch.allclose(quarter_turn @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0.0, 1, 0]).double())
    assert torch.allclose(from_direction(torch.tensor([0.0, 0, 1]).double()), torch.eye(3, dtype=torch.float64))


def test_smallest_rotation():
    """R0(d) rotates by exactly the angle between d and z."""
    beam = directions(200)
    assert torch.allclose(angle_rad(from_direction(beam)), torch.arccos(beam[:, 2]), atol=1e-7)


@pytest.mark.parametrize("z", [-1.0, 1.0, -1 + 1e-9])
def test_directions_along_the_axis(z):
    beam = torch.tensor([math.sqrt(max(0, 1 - z * z)), 0, z], dtype=torch.float64)
    rotation = from_direction(beam)
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-7)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1)
    assert torch.allclose(rotation @ beam, torch.tensor([0.0, 0, 1], dtype=torch.float64), atol=1e-7)


def test_rotations_from_vectors_as_scipy():
    vectors = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert np.allclose(rotation_from_vector(vectors), Rotation.from_rotvec(vectors.numpy()).as_matrix())


def test_random_rotations_are_uniform():
    """Angles follow (ω − sin ω) / π; columns have no mean; the generator decides."""
    sample = rotations(20_000)
    assert torch.allclose(sample @ sample.mT, torch.eye(3, dtype=torch.float64).expand(20_000, 3, 3), atol=1e-9)
    assert float(torch.linalg.det(sample).min()) == pytest.approx(1)
    assert float(sample.mean(dim=0).abs().max()) < 0.02
    angle = angle_rad(sample)
    share = ((angle - angle.sin()) / math.pi).sort().values
    assert float((share - torch.linspace(0, 1, 20_000)).abs().max()) < 1.63 / math.sqrt(20_000)  # Kolmogorov, 1 %
    assert torch.equal(sample, rotations(20_000)) and not torch.equal(sample, rotations(20_000, 1))


def test_small_rotations_have_their_spread():
    small = small_rotations((4000, 2), torch.tensor([[0.5, 1.0]]), torch.Generator().manual_seed(0))
    vectors = Rotation.from_matrix(small.reshape(-1, 3, 3).numpy()).as_rotvec(degrees=True).reshape(4000, 2, 3)
    assert vectors.std(axis=0) == pytest.approx(np.array([[0.5] * 3, [1.0] * 3]), rel=0.05)


@pytest.mark.parametrize("name", GROUPS)
def test_the_zone_holds_each_direction_once(name):
    symmetry = group(name)
    beam = directions(500)
    images = torch.einsum("sij,qj->qsi", symmetry, beam)
    assert (in_zone(images, symmetry).sum(dim=1) == 1).all()
    inside = reduced(rotations(500), symmetry)
    assert in_zone(inside[:, 2], symmetry).all()
    assert misorientation_deg(inside[:, None].numpy(), rotations(500).numpy(), symmetry.numpy()).max() < 1e-5


def test_the_zone_of_polyethylene_lies_about_its_main_axis():
    inside = fibonacci_sphere(4000)[in_zone(fibonacci_sphere(4000), group("D2"))]
    assert len(inside) == pytest.approx(1000, abs=5)
    assert float(inside[:, 2].min()) > -0.01
    fourfold = fibonacci_sphere(4000)[in_zone(fibonacci_sphere(4000), group("D4"))]
    assert float(fourfold[:, 2].min()) > -0.01


@pytest.mark.parametrize(
    ("name", "number"), [("D2", 500), ("D2", 2000), ("O", 100), ("C1", 777), ("D6", 1), ("T", 1000)]
)
def test_galleries_are_complete_and_nearly_uniform(name, number):
    symmetry = group(name)
    gallery = gallery_directions(number, symmetry)
    assert gallery.shape == (number, 3) and in_zone(gallery, symmetry).all()
    assert torch.allclose(gallery.norm(dim=1), torch.ones(number, dtype=torch.float64))
    assert torch.equal(gallery, gallery_directions(number, symmetry))
    angle = floor_deg(gallery, symmetry)
    # A cap of this radius has the area of one direction's share of the sphere.
    cap = math.degrees(math.acos(1 - 2 / (number * len(symmetry))))
    if number > 1:
        assert angle.max() < 1.75 * cap
        assert 0.6 * cap < np.median(angle) < 0.8 * cap  # a hexagonal lattice has 0.66


def test_random_galleries_are_worse():
    """Control: the same number of random directions leaves a floor that is larger by a third and more."""
    symmetry = group("D2")
    even = floor_deg(gallery_directions(1000, symmetry), symmetry)
    random = floor_deg(directions(1000, 5), symmetry)
    assert np.median(random) > 1.15 * np.median(even)
    assert random.max() > 2 * even.max()
