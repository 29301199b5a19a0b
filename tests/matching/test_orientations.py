"""Orientations: conventions, uniformity, symmetry-reduced misorientation against scipy, galleries."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from workflow_scripts.matching.simulation.orientations import (
    fibonacci_sphere,
    from_direction,
    gallery_directions,
    in_zone,
    misorientation_deg,
    nearest_direction,
    random_rotations,
    reduced,
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
    """Angles from random beam directions to the nearest of a gallery."""
    random = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return nearest_direction(random / random.norm(dim=1, keepdim=True), gallery, symmetry)[1]


def test_conventions():
    """R brings the beam direction to z; ψ turns from +x to +y."""
    beam = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
    rotation = from_direction(beam)
    assert torch.allclose(rotation @ beam[..., None], torch.tensor([0.0, 0, 1], dtype=torch.float64)[:, None])
    turned = from_direction(beam, math.pi / 2) @ torch.linalg.inv(rotation)
    assert torch.allclose(turned[0] @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0.0, 1, 0]).double())
    assert torch.allclose(from_direction(torch.tensor([0.0, 0, 1]).double()), torch.eye(3, dtype=torch.float64))


def test_smallest_rotation():
    """R0(d) turns by the angle between d and z and by no more."""
    beam = directions(200)
    angle = misorientation_deg(from_direction(beam), torch.eye(3, dtype=torch.float64), group("C1"))
    assert torch.allclose(angle, torch.rad2deg(torch.arccos(beam[:, 2])), atol=1e-5)


@pytest.mark.parametrize("z", [-1.0, 1.0, -1 + 1e-9])
def test_directions_along_the_axis(z):
    beam = torch.tensor([math.sqrt(max(0, 1 - z * z)), 0, z], dtype=torch.float64)
    rotation = from_direction(beam, 0.3)
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-7)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1)
    assert torch.allclose(rotation @ beam, torch.tensor([0.0, 0, 1], dtype=torch.float64), atol=1e-7)


def test_rotations_from_vectors_as_scipy():
    vectors = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert np.allclose(rotation_from_vector(vectors), Rotation.from_rotvec(vectors.numpy()).as_matrix())


def test_random_rotations_are_uniform():
    """Angles follow (ω − sin ω) / π; columns have no mean; the generator decides."""
    found = rotations(20_000)
    assert torch.allclose(found @ found.mT, torch.eye(3, dtype=torch.float64).expand(20_000, 3, 3), atol=1e-9)
    assert float(torch.linalg.det(found).min()) == pytest.approx(1)
    assert float(found.mean(dim=0).abs().max()) < 0.02
    angle = misorientation_deg(found, torch.eye(3, dtype=torch.float64), group("C1")).deg2rad()
    share = ((angle - angle.sin()) / math.pi).sort().values
    assert float((share - torch.linspace(0, 1, 20_000)).abs().max()) < 1.63 / math.sqrt(20_000)  # Kolmogorov, 1 %
    assert torch.equal(found, rotations(20_000)) and not torch.equal(found, rotations(20_000, 1))


def test_small_rotations_have_their_spread():
    found = small_rotations((4000, 2), torch.tensor([[0.5, 1.0]]), torch.Generator().manual_seed(0))
    vectors = Rotation.from_matrix(found.reshape(-1, 3, 3).numpy()).as_rotvec(degrees=True).reshape(4000, 2, 3)
    assert vectors.std(axis=0) == pytest.approx(np.array([[0.5] * 3, [1.0] * 3]), rel=0.05)


@pytest.mark.parametrize("name", GROUPS)
def test_misorientation_against_scipy(name):
    """scipy's reduce finds the smallest rotation equivalent under symmetry on both sides of R1 S R2ᵀ."""
    symmetry = group(name)
    first, second = rotations(60, 1), rotations(60, 2)
    ours = misorientation_deg(first, second, symmetry)
    relative = Rotation.from_matrix((first.mT @ second).numpy())
    theirs = np.rad2deg(relative.reduce(left=Rotation.create_group(name)).magnitude())
    assert np.allclose(ours, theirs, atol=1e-5)
    # Control: without the symmetry it is larger, but for C1.
    bare = misorientation_deg(first, second, group("C1"))
    assert (name == "C1") == bool(torch.allclose(bare, ours))


@pytest.mark.parametrize("name", GROUPS)
def test_misorientation_knows_classes(name):
    """Equivalent orientations are 0° apart, a turn by 2° on the lab's side is 2°, whatever equivalents are compared."""
    symmetry = group(name)
    first = rotations(20)
    images = first[:, None] @ symmetry
    assert float(misorientation_deg(images, first[:, None], symmetry).max()) < 1e-5
    turned = rotation_from_vector(torch.deg2rad(torch.tensor([0.0, 1.2, 1.6]).double())) @ images
    assert torch.allclose(
        misorientation_deg(turned, first[:, None], symmetry), torch.full(images.shape[:2], 2.0).double(), atol=1e-5
    )


def test_misorientation_is_batched():
    """(Q, 1) against (Q, K) gives (Q, K), and symmetric in its arguments."""
    truth, answers = rotations(4), rotations(28, 1).reshape(4, 7, 3, 3)
    found = misorientation_deg(truth[:, None], answers, group("D2"))
    assert found.shape == (4, 7)
    assert float(found[2, 3]) == pytest.approx(
        float(misorientation_deg(answers[2, 3], truth[2], group("D2"))), abs=1e-5
    )
    assert float(found.max()) <= 120.0001  # the farthest that D2 leaves


@pytest.mark.parametrize("name", GROUPS)
def test_the_zone_holds_each_direction_once(name):
    symmetry = group(name)
    beam = directions(500)
    images = torch.einsum("sij,qj->qsi", symmetry, beam)
    assert (in_zone(images, symmetry).sum(dim=1) == 1).all()
    inside = reduced(rotations(500), symmetry)
    assert in_zone(inside[:, 2], symmetry).all()
    assert float(misorientation_deg(inside, rotations(500), symmetry).max()) < 1e-5


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
        assert float(angle.max()) < 1.75 * cap
        assert 0.6 * cap < float(angle.median()) < 0.8 * cap  # a hexagonal lattice has 0.66


def test_random_galleries_are_worse():
    """Control: the same number of random directions leaves a floor that is larger by a third and more."""
    symmetry = group("D2")
    even, random = gallery_directions(1000, symmetry), directions(1000, 5)
    floors = [floor_deg(each, symmetry) for each in (even, random)]
    assert float(floors[1].median()) > 1.15 * float(floors[0].median())
    assert float(floors[1].max()) > 2 * float(floors[0].max())


def test_the_floor_is_the_misorientation_with_a_free_in_plane_angle():
    symmetry = group("D2")
    gallery, truth = gallery_directions(40, symmetry), rotations(6, 3)
    index, angle = nearest_direction(truth[:, 2], gallery, symmetry)
    turns = torch.linspace(0, 2 * math.pi, 1441, dtype=torch.float64)[:-1]
    tried = from_direction(gallery[:, None], turns)  # (40, 1440, 3, 3)
    for one in range(6):
        off = misorientation_deg(tried, truth[one], symmetry).amin(dim=1)
        assert int(off.argmin()) == int(index[one])
        assert float(off.min()) == pytest.approx(float(angle[one]), abs=0.02)
