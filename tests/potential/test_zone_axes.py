"""The orthogonal cell is the same crystal, whatever the lattice and the axis."""

import itertools

import ase
import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.potential.conftest import density, same_distances
from workflow_scripts.potential.simulation.structures import from_atoms


def same_crystal(atoms, made):
    """Density and the distances of neighbours, atom for atom."""
    assert density(made) == pytest.approx(atoms.get_masses().sum() / 0.602214076 / atoms.get_volume(), rel=1e-3)
    same_distances(made, atoms, tolerance_a=0.01)


def fcc():
    return bulk("Al", "fcc", a=4.05, cubic=True)


AXES = [axis for axis in itertools.product(range(-1, 4), repeat=3) if any(axis)]


@settings(max_examples=15, deadline=None)
@given(
    axis=st.sampled_from(AXES),
    atoms=st.sampled_from([fcc(), bulk("Si", "diamond", a=5.43), bulk("NaCl", "rocksalt", a=5.64, cubic=True)]),
)
def test_cubic_crystals_along_any_axis(axis, atoms):
    same_crystal(atoms, from_atoms("", atoms, axis, {}))


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (1, 1, 0), (2, 1, 0)])
def test_hexagonal_crystals(axis):
    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.38)
    same_crystal(atoms, from_atoms("", atoms, axis, {}))


@pytest.mark.parametrize(
    ("axis", "cell_a"),
    [
        ((0, 0, 1), (1.0, 0.5**0.5, 0.5**0.5)),
        ((1, 1, 0), (0.5**0.5, 1.0, 0.5**0.5)),
        ((1, 1, 1), (3**0.5, 1.5**0.5, 0.5**0.5)),
    ],
)
def test_the_cell_of_a_centred_lattice_is_the_smallest(axis, cell_a):
    """The cubic cell of fcc holds four lattice points; along ⟨100⟩ and ⟨110⟩ a box needs only two."""
    made = from_atoms("", fcc(), axis, {})
    assert made.cell_a[0] == pytest.approx(4.05 * cell_a[0])
    assert sorted(made.cell_a[1:]) == pytest.approx(sorted(4.05 * side for side in cell_a[1:]))


def test_the_choice_does_not_depend_on_the_order_of_the_atoms():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    shuffled = atoms[np.random.default_rng(0).permutation(len(atoms))]
    first, second = (from_atoms("", each, (1, 2, 0), {}) for each in (atoms, shuffled))
    assert first.cell_a == pytest.approx(second.cell_a) and first.symbols == second.symbols
    assert np.allclose(first.positions_a, second.positions_a, atol=1e-9)


def handed(cell_a):
    """Four different atoms on the corner of a cell, in the order of its axes."""
    return ase.Atoms(
        ["Au", "Cu", "O", "C"],
        scaled_positions=[[0, 0, 0], [0.25, 0, 0], [0, 0.25, 0], [0, 0, 0.25]],
        cell=cell_a,
        pbc=True,
    )


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, -1), (1, 1, 0)])
def test_the_crystal_is_not_mirrored(axis):
    """The sign of the volume that three neighbours span around gold."""
    made = from_atoms("", handed(np.diag([4.0, 5.0, 6.0])), axis, {})
    symbols, cell = np.array(made.symbols), np.array(made.cell_a[::-1])
    places = made.positions_a[:, ::-1]
    gold = places[symbols == "Au"][0]
    arms = []
    for symbol in ("Cu", "O", "C"):
        arm = places[symbols == symbol] - gold
        arm -= cell * (arm / cell).round()
        arms.append(arm[np.linalg.norm(arm, axis=1).argmin()])
    assert np.linalg.det(arms) == pytest.approx(4 * 5 * 6 / 64, rel=0.01)


def test_a_cell_that_is_nearly_orthogonal_is_strained_and_a_skew_one_is_not():
    nearly = ase.Atoms("Cu", cell=[4.0, 5.01, 6.03, 90, 90.3, 90], pbc=True)
    made = from_atoms("", nearly, (0, 0, 1), {})
    assert len(made.symbols) == 1 and made.cell_a == pytest.approx((6.03, 5.01, 4.0))
    skew = ase.Atoms("Cu", cell=[21.3, 24.7, 28.9, 83.1, 77.7, 101.3], pbc=True)
    with pytest.raises(ValueError, match=r"orthogonal within 0\.5°"):
        from_atoms("", skew, (0, 0, 1), {})


def test_an_exact_cell_is_preferred_to_a_strained_one():
    """A-centred, with sides so alike that the diamond of half the size is orthogonal within 0.3°."""
    atoms = ase.Atoms("Cu2", scaled_positions=[[0, 0, 0], [0, 0.5, 0.5]], cell=[4.0, 5.695, 5.721], pbc=True)
    made = from_atoms("", atoms, (1, 0, 0), {})
    assert sorted(made.cell_a) == pytest.approx([4.0, 5.695, 5.721])


def test_a_period_beyond_the_limit_is_refused():
    with pytest.raises(ValueError, match="repeats only after more than 60 Å"):
        from_atoms("", ase.Atoms("Cu", cell=[4.0, 5.0, 61.0], pbc=True), (0, 0, 1), {})


def test_a_left_handed_cell_is_the_same_crystal():
    cell = np.diag([4.0, 5.0, 6.0])[[1, 0, 2]]
    atoms = ase.Atoms(["Au", "Cu"], scaled_positions=[[0, 0, 0], [0.3, 0.4, 0.1]], cell=cell, pbc=True)
    same_crystal(atoms, from_atoms("", atoms, (0, 0, 1), {}))


def test_debye_waller_factors_are_handed_on():
    made = from_atoms("", bulk("NaCl", "rocksalt", a=5.64), (0, 0, 1), {"Na": 1.5})
    assert dict(zip(made.symbols, made.debye_waller_a2, strict=True)) == {"Na": 1.5, "Cl": 0.5}
