"""Kinematic patterns: closed forms, symmetry, in-plane rotations."""

import math

import numpy as np
import pytest
import torch

from tests.matching.crystals import BUILT_IN, crystal
from tests.matching.test_structure_factors import some_crystal
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.kinematic import Simulator, render, shares
from workflow_scripts.matching.simulation.orientations import (
    from_direction,
    random_rotations,
    rotation_about_z,
    rotation_from_vector,
)
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.optics.kirkland import scattering_factor_a
from workflow_scripts.optics.waves import wavelength_a

LIGHT = {"voltage_kv": 200.0, "side_px": 64, "pixel_size_per_a": 0.03, "spot_px": 1.0, "thickness_nm": 10.0}


def simulator(name="polyethylene", **changes):
    return Simulator(crystal(name), DiffractionSettings(**(LIGHT | changes)))


def rotations(number, seed=0):
    return random_rotations(number, torch.Generator().manual_seed(seed))


def direct(made, rotation):
    """All spots of one orientation as the formula has it, in double precision: [y, x] (G, 2), intensity (G,)."""
    cell, light = made.crystal, made.diffraction
    wavelength = wavelength_a(light.voltage_kv)
    gamma = 1 + light.voltage_kv / 510.99895
    hkl = np.stack(np.meshgrid(range(-11, 12), range(-8, 9), range(-5, 6), indexing="ij"), axis=-1).reshape(-1, 3)
    g = hkl @ np.linalg.inv(cell.lattice_a).T
    length = np.linalg.norm(g, axis=1)
    hkl, g = (vectors[(length > 0) & (length <= light.largest_per_a)] for vectors in (hkl, g))
    squared = (g**2).sum(axis=1)
    factor = 0
    for symbol, place, b in zip(cell.symbols, cell.fractional, cell.debye_waller_a2, strict=True):
        scattering = scattering_factor_a(symbol, torch.from_numpy(squared)).numpy() * np.exp(-b * squared / 4)
        factor = factor + scattering * np.exp(2j * np.pi * hkl @ place)
    x, y, z = rotation.numpy() @ g.T
    s = np.sqrt(1 / wavelength**2 - x**2 - y**2) - 1 / wavelength - z
    per_extinction = wavelength * gamma * abs(factor) / (np.pi * cell.volume_a3)
    thickness_a = 10 * light.thickness_nm
    intensity = (np.pi * thickness_a * per_extinction * np.sinc(s * thickness_a)) ** 2
    return torch.from_numpy(np.stack([y, x], axis=1)), torch.from_numpy(intensity)


def test_spots_are_those_of_the_formula():
    """Positions and intensities against loops; what is left out is weak."""
    made = simulator(thickness_nm=30.0)
    for rotation in rotations(3):
        position, intensity = direct(made, rotation)
        spots = made.spots(rotation[None])
        is_spot = spots.intensity[0] > 0
        away = torch.cdist(spots.position_per_a[0][is_spot].double(), position)
        assert float(away.amin(dim=1).max()) < 1e-4
        theirs = intensity[away.argmin(dim=1)]
        assert float((spots.intensity[0][is_spot] - theirs).abs().max()) < 2e-3 * float(intensity.max())
        assert float(spots.intensity.sum()) == pytest.approx(float(intensity.sum()), rel=0.02)


def test_patterns_are_shares():
    patterns = simulator().patterns(rotations(50))
    assert patterns.shape == (50, 64, 64) and patterns.dtype == torch.float32
    assert float(patterns.min()) >= 0
    assert torch.allclose(patterns.sum(dim=(1, 2)), torch.ones(50), atol=1e-5)
    assert torch.equal(patterns, simulator().patterns(rotations(50)))


def test_batches_do_not_matter():
    """A pattern is the same alone and among others, whatever their number of spots."""
    made, turns = simulator(), rotations(200)
    together = made.patterns(turns)
    for row in (0, 77, 199):
        assert torch.allclose(made.patterns(turns[row : row + 1])[0], together[row], atol=2e-5)


def test_the_central_beam_is_not_there():
    zone_axis = torch.eye(3, dtype=torch.float64)[None]
    patterns = simulator(spot_px=0.6).patterns(zone_axis)[0]
    assert float(patterns[30:34, 30:34].sum()) < 1e-6


def test_polyethylene_along_its_chains():
    """hk0: 110 and 200 surround the beam; h00 and 0k0 with odd indices are absent; (y, x) = (b, a)."""
    made = simulator(side_px=128, pixel_size_per_a=0.01)
    spots = made.spots(torch.eye(3, dtype=torch.float64)[None])
    # A 10 nm crystal also touches the sphere at s ≠ 0: the strongest six are 110 and 200.
    strongest = spots.position_per_a[0][spots.intensity[0].topk(6).indices].double()
    expected = [(k / 4.93, h / 7.40) for h, k in [(1, 1), (1, -1), (-1, 1), (-1, -1), (2, 0), (-2, 0)]]
    assert float(torch.cdist(strongest, torch.tensor(expected).double()).amin(dim=1).max()) < 1e-4
    for h, k in [(1, 0), (3, 0), (0, 1), (0, 3)]:
        away = (spots.position_per_a[0] - torch.tensor([k / 4.93, h / 7.40])).norm(dim=1)
        assert float(spots.intensity[0][away < 1e-3].sum()) < 1e-9


@pytest.mark.parametrize("name", BUILT_IN)
def test_equivalent_orientations_have_equal_patterns(name):
    """R and R S, S of the Laue group; a rotation that is not a symmetry changes the pattern."""
    made = simulator(name)
    turns = rotations(5)
    symmetry = laue_rotations(made.crystal)
    patterns = made.patterns((turns[:, None] @ symmetry).flatten(0, 1)).reshape(5, len(symmetry), 64, 64)
    off = (patterns - patterns[:, :1]).abs().sum(dim=(2, 3))
    assert float(off.max()) < 5e-3
    other = rotation_from_vector(torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64))
    assert float((made.patterns(turns @ other) - patterns[:, 0]).abs().sum(dim=(1, 2)).min()) > 0.3


def test_friedel_the_opposite_beam_sees_the_mirror_image():
    """Along −d: rotated about y by 180°, x is mirrored, for any crystal."""
    made = Simulator(
        some_crystal([6, 8, 14], [[0, 0, 0], [0.2, 0.31, 0.44], [0.63, 0.12, 0.77]]), DiffractionSettings(**LIGHT)
    )
    turns = rotations(6)
    about_x = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    mirrored = made.patterns(about_x @ turns)
    # (x, −y, −z) of −g is (−x, y, z): the mirror image along x.
    assert float((mirrored - made.patterns(turns).flip(2)).abs().sum(dim=(1, 2)).max()) < 5e-3


def test_the_apparent_twofold_axis_is_only_approximate():
    """A pattern rotated by 180° is close to itself on a zone axis for a thin crystal, not off it."""
    made = simulator(thickness_nm=3.0)
    on_axis = torch.eye(3, dtype=torch.float64)[None]
    pattern = made.patterns(on_axis)
    assert float((pattern - pattern.flip(1, 2)).abs().sum()) < 0.01
    tilted = made.patterns(from_direction(torch.nn.functional.normalize(torch.tensor([[0.03, 0.05, 1.0]]).double())))
    assert float((tilted - tilted.flip(1, 2)).abs().sum()) > 0.1


def test_a_turn_in_plane_turns_the_pattern():
    """By 90° from +x to +y exactly, as rot90 from x to y."""
    made, turns = simulator(), rotations(5)
    quarter = rotation_about_z(torch.tensor(math.pi / 2, dtype=torch.float64))
    turned = made.patterns(quarter @ turns)
    assert float((turned - made.patterns(turns).rot90(1, dims=(2, 1))).abs().sum(dim=(1, 2)).max()) < 5e-3


def test_thickness_and_camera_length():
    """A thicker crystal excites fewer reflections; twice the pixel size halves all distances."""
    turns = rotations(40)

    def excited(thickness_nm):
        intensity = simulator(thickness_nm=thickness_nm).spots(turns).intensity
        return float((intensity.sum(dim=1) ** 2 / intensity.square().sum(dim=1)).mean())

    assert excited(3.0) > 1.3 * excited(30.0)
    spots = simulator().spots(turns[:3])
    for pixel in (0.03, 0.06):
        image = render(spots.position_per_a / pixel + 63.5, spots.intensity, 128, 1.0)
        axis = torch.arange(128) - 63.5
        radius = (axis[:, None].square() + axis.square()).sqrt()
        mean = (image * radius).sum() / image.sum() * pixel
        if pixel == 0.03:
            first = float(mean)
    assert float(mean) == pytest.approx(first, rel=0.02)


def test_extinction_distance_of_silicon():
    """ξ of 220 at rest is 757 Å at 100 kV without Debye–Waller factor in most textbooks."""
    hundred = simulator("silicon", voltage_kv=100.0)
    place = (hundred.hkl.abs().sort(dim=1).values == torch.tensor([0, 2, 2])).all(dim=1)
    assert float(1 / hundred.inverse_extinction_per_a[place].mean()) == pytest.approx(757, rel=0.05)


def test_domains_share_a_pattern():
    made, turns = simulator(), rotations(6).reshape(2, 3, 3, 3)
    together = made.spots(turns)
    image = render(together.position_per_a / 0.03 + 31.5, together.intensity, 64, 1.0)
    single = made.spots(turns.flatten(0, 1))
    domains = render(single.position_per_a / 0.03 + 31.5, single.intensity, 64, 1.0).reshape(2, 3, 64, 64)
    assert float((image - domains.mean(dim=1)).abs().sum() / image.sum()) < 0.02


def test_no_spot_no_pattern():
    """A detector that no reflection reaches is dark, not NaN; one without any reflection is refused."""
    assert float(shares(torch.zeros(2, 8, 8)).abs().max()) == 0
    with pytest.raises(ValueError, match="no reflection"):
        simulator(pixel_size_per_a=1e-4)


def test_render_integrates_over_pixels():
    position = torch.tensor([[[10.3, 20.6], [5.0, 5.0], [-8.0, 3.0]]], dtype=torch.float64)
    image = render(position, torch.tensor([[2.0, 1.0, 4.0]], dtype=torch.float64), 32, 1.2)[0]
    assert float(image.sum()) == pytest.approx(3.0, abs=1e-3)
    axis = torch.arange(32, dtype=torch.float64)
    alone = render(position[:, :1], torch.ones(1, 1, dtype=torch.float64), 32, 1.2)[0]
    assert float((alone.sum(dim=1) * axis).sum()) == pytest.approx(10.3, abs=1e-3)
    assert float((alone.sum(dim=0) * axis).sum()) == pytest.approx(20.6, abs=1e-3)
    variance = float((alone.sum(dim=0) * (axis - 20.6).square()).sum())
    assert variance == pytest.approx(1.2**2 + 1 / 12, rel=1e-3)
