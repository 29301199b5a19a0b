"""Structure factors: closed forms, absences, Friedel's law; the rotations of the Laue group."""

import math

import numpy as np
import pytest
import torch
from ase.build import make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matching.crystals import crystal
from tests.matching.test_crystals import as_atoms
from workflow_scripts.matching.simulation.crystals import Crystal, read_crystal
from workflow_scripts.matching.simulation.structure_factors import laue_rotations, structure_factors
from workflow_scripts.optics.kirkland import scattering_factor_a


def some_crystal(numbers, fractional, lattice_a=None, occupancy=None, debye_waller_a2=None):
    count = len(numbers)
    return Crystal(
        "some",
        np.diag([4.0, 4.5, 5.0]) if lattice_a is None else lattice_a,
        np.array(fractional, dtype=float),
        np.array(numbers),
        np.ones(count) if occupancy is None else np.array(occupancy),
        np.full(count, 0.7) if debye_waller_a2 is None else np.array(debye_waller_a2),
    )


def test_one_atom_is_its_scattering_factor():
    reflections = structure_factors(some_crystal([26], [[0.0, 0.0, 0.0]]), 1.0)
    squared = reflections.g_per_a.square().sum(dim=1)
    expected = scattering_factor_a("Fe", squared) * torch.exp(-0.7 * squared / 4)
    assert torch.allclose(reflections.structure_factor_a, expected.to(torch.complex128))


def test_all_reflections_up_to_the_resolution_without_000():
    """Their number is that of lattice points in a sphere; all are there and the shortest come first."""
    made = some_crystal([6], [[0, 0, 0]], lattice_a=np.array([[4.0, 0, 0], [-2.0, 3.5, 0], [0.3, 0.8, 6.0]]))
    reflections = structure_factors(made, 1.5)
    length = reflections.g_per_a.norm(dim=1)
    assert (length.diff() >= -1e-12).all() and length[0] > 0 and length[-1] <= 1.5
    every = torch.cartesian_prod(*[torch.arange(-12, 13)] * 3)
    inside = (every.double() @ torch.from_numpy(made.reciprocal_per_a)).norm(dim=1) <= 1.5
    assert len(reflections.hkl) == int(inside.sum()) - 1


def test_systematic_absences_of_polyethylene():
    """Pnam: 0kl with k + l odd, h0l with h odd, hence h00 with h odd, 0k0 with k odd, 00l with l odd."""
    reflections = structure_factors(crystal("polyethylene"), 1.6)
    h, k, third = reflections.hkl.T
    amplitude = reflections.structure_factor_a.abs()
    absent = ((h == 0) & ((k + third) % 2 == 1)) | ((k == 0) & (h % 2 == 1))
    assert int(absent.sum()) > 50
    assert float(amplitude[absent].max()) < 1e-9
    # Control: no rule of that kind holds where it should not.
    for wrong in (
        (third == 0) & ((h + k) % 2 == 1),
        (k == 0) & (h % 2 == 0) & (third % 2 == 1),
        (h + k + third) % 2 == 1,
    ):
        assert float(amplitude[wrong].max()) > 0.05
    assert not (set(map(tuple, reflections.present().hkl.tolist())) & set(map(tuple, reflections.hkl[absent].tolist())))


def test_polyethylene_has_its_strong_reflections():
    """110 and 200, at 4.1 and 3.7 Å, are the strongest."""
    reflections = structure_factors(crystal("polyethylene"), 1.0)
    strongest = {
        tuple(abs(i) for i in hkl)
        for hkl in reflections.hkl[reflections.structure_factor_a.abs().topk(6).indices].tolist()
    }
    assert strongest == {(1, 1, 0), (2, 0, 0)}


def test_systematic_absences_of_cubic_lattices():
    silicon = structure_factors(crystal("silicon"), 1.2)
    amplitude = silicon.structure_factor_a.abs()
    mixed = (silicon.hkl % 2).sum(dim=1) % 3 != 0
    diamond = (silicon.hkl % 2 == 0).all(dim=1) & (silicon.hkl.sum(dim=1) % 4 == 2)
    assert float(amplitude[mixed | diamond].max()) < 1e-9 < float(amplitude[~(mixed | diamond)].min())
    salt = structure_factors(crystal("sodium_chloride"), 1.2)
    mixed = (salt.hkl % 2).sum(dim=1) % 3 != 0
    assert float(salt.structure_factor_a.abs()[mixed].max()) < 1e-9
    # Sum of the ions where all indices are even, difference where all are odd.
    squared = salt.g_per_a.square().sum(dim=1)
    damping = torch.exp(-1.5 * squared / 4)
    sodium, chlorine = (scattering_factor_a(symbol, squared) * damping for symbol in ("Na", "Cl"))
    even = (salt.hkl % 2 == 0).all(dim=1)
    odd = (salt.hkl % 2 == 1).all(dim=1)
    amplitude = salt.structure_factor_a.abs()
    assert torch.allclose(amplitude[even], 4 * (sodium + chlorine)[even])
    assert torch.allclose(amplitude[odd], 4 * (sodium - chlorine).abs()[odd])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_friedel_and_the_choice_of_origin(count, seed):
    """F(−g) is the conjugate of F(g), of any crystal; a shift of the origin changes only phases."""
    rng = np.random.default_rng(seed)
    numbers, places, share = rng.choice([1, 6, 8, 29, 79], count), rng.random((count, 3)), rng.uniform(0.2, 1, count)
    lattice = np.diag(rng.uniform(3, 6, 3)) + rng.uniform(-0.5, 0.5, (3, 3))
    made = some_crystal(numbers, places, lattice, share, rng.uniform(0, 3, count))
    reflections = structure_factors(made, 0.9)
    table = {
        tuple(hkl): value
        for hkl, value in zip(reflections.hkl.tolist(), reflections.structure_factor_a.tolist(), strict=True)
    }
    for hkl, value in table.items():
        assert table[tuple(-index for index in hkl)] == pytest.approx(value.conjugate(), abs=1e-9)
    moved = some_crystal(numbers, places + rng.random(3), lattice, share, made.debye_waller_a2)
    assert torch.allclose(structure_factors(moved, 0.9).structure_factor_a.abs(), reflections.structure_factor_a.abs())


def test_amplitudes_by_index():
    reflections = structure_factors(crystal("sodium_chloride"), 1.0)
    assert torch.allclose(reflections.amplitude_of(reflections.hkl), reflections.structure_factor_a.abs())
    assert reflections.amplitude_of(torch.tensor([[0, 0, 0], [99, 0, 0]])).tolist() == [0, 0]


@pytest.mark.parametrize(("resolution", "words"), [(1e-3, "no reflection"), (100.0, "at most")])
def test_resolutions_that_cannot_be(resolution, words):
    with pytest.raises(ValueError, match=words):
        structure_factors(crystal("silicon"), resolution)


@pytest.mark.parametrize(("name", "order"), [("polyethylene", 4), ("silicon", 24), ("sodium_chloride", 24)])
def test_laue_rotations_of_built_in_crystals(name, order):
    symmetry = laue_rotations(crystal(name))
    assert len(symmetry) == order
    assert torch.allclose(symmetry[0], torch.eye(3, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(symmetry @ symmetry.mT, torch.eye(3, dtype=torch.float64).expand(order, 3, 3), atol=1e-9)
    assert torch.allclose(torch.linalg.det(symmetry), torch.ones(order, dtype=torch.float64))
    if name == "polyethylene":
        assert torch.allclose(symmetry.abs(), torch.eye(3, dtype=torch.float64).expand(4, 3, 3), atol=1e-6)


def test_laue_rotations_do_not_depend_on_the_cell():
    """Silicon's primitive cell and a supercell have the rotations of the cubic one."""
    cubic = as_atoms(crystal("silicon"))
    half = cubic.cell[0, 0] / 2
    basis = np.array([[0, half, half], [half, 0, half], [half, half, 0]])
    fractional = np.linalg.solve(basis.T, np.array([[0, 0, 0], [half / 2] * 3]).T).T
    primitive = some_crystal([14, 14], fractional, basis)
    supercell = make_supercell(cubic, np.diag([1, 2, 1]))
    doubled = some_crystal(supercell.numbers, supercell.get_scaled_positions(), np.asarray(supercell.cell))
    expected = {tuple(rotation.round().int().flatten().tolist()) for rotation in laue_rotations(crystal("silicon"))}
    for made in (primitive, doubled):
        symmetry = laue_rotations(made)
        assert {tuple(rotation.round().int().flatten().tolist()) for rotation in symmetry} == expected


@pytest.mark.parametrize(
    ("lattice", "order"),
    [
        (np.array([[4.0, 0, 0], [0.7, 5.0, 0], [0.9, 1.1, 6.0]]), 1),  # triclinic
        (np.array([[4.0, 0, 0], [0, 5.0, 0], [1.3, 0, 6.0]]), 2),  # monoclinic, about b
        (np.diag([4.0, 5.0, 6.0]), 4),
        (np.diag([4.0, 4.0, 6.0]), 8),
        (np.array([[4.0, 0, 0], [-2.0, 2 * math.sqrt(3), 0], [0, 0, 6.0]]), 12),
        (np.diag([4.0, 4.0, 4.0]), 24),
    ],
)
def test_laue_rotations_of_lattices_with_one_atom(lattice, order):
    assert len(laue_rotations(some_crystal([26], [[0, 0, 0]], lattice))) == order


def test_atoms_break_the_symmetry_of_a_lattice():
    """A cubic lattice with one chain of atoms along z is tetragonal at most; a disordered one has only the identity."""
    along_z = some_crystal([26, 6], [[0, 0, 0], [0, 0, 0.5]], np.diag([4.0] * 3))
    assert len(laue_rotations(along_z)) == 8
    spoilt = some_crystal([26, 26, 26], [[0, 0, 0], [0.13, 0.29, 0.41], [0.37, 0.11, 0.73]], np.diag([4.0] * 3))
    assert len(laue_rotations(spoilt)) == 1


def test_real_laue_groups(real_data):
    orders = {"GaN": 12, "2H-MoS2": 12, "SrTiO3-Tausonite": 24}
    for name, order in orders.items():
        assert len(laue_rotations(read_crystal(real_data / "potential" / f"{name}.cif"))) == order
    assert len(laue_rotations(read_crystal(real_data / "matching" / "polyethylene_molsystem.cif"))) == 4
