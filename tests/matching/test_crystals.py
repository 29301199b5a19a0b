"""Crystals: the built-in ones, and the contents of a .cif."""

import ase
import numpy as np
import pytest
from ase.io import write
from ase.neighborlist import neighbor_list

from tests.matching.crystals import BUILT_IN, crystal
from workflow_scripts.matching.simulation.crystals import load, read_crystal
from workflow_scripts.matching.simulation.structure_factors import structure_factors
from workflow_scripts.workflow.errors import InputError

CELL = {"a": 4.0, "b": 4.0, "c": 4.0, "alpha": 90, "beta": 90, "gamma": 90}


def cif(
    sites="Fe1 Fe 0 0 0 1.0", cell=None, extra="", block="one", columns="occupancy", loop=True, operations=("x,y,z",)
):
    """Text of a .cif."""
    cell = CELL | (cell or {})
    lines = [f"data_{block}"]
    lines += [f"_cell_length_{side} {cell[side]}" for side in "abc"]
    lines += [f"_cell_angle_{angle} {cell[angle]}" for angle in ("alpha", "beta", "gamma")]
    if operations:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{operation}'" for operation in operations)]
    lines += [extra]
    if loop:
        lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
        lines += [f"_atom_site_fract_{axis}" for axis in "xyz"]
        lines += [f"_atom_site_{column}" for column in columns.split()]
        lines += [sites]
    return "\n".join(lines) + "\n"


def written(tmp_path, text):
    path = tmp_path / "crystal.cif"
    path.write_text(text, encoding="utf-8")
    return path


def as_atoms(specimen):
    return ase.Atoms(specimen.symbols, scaled_positions=specimen.fractional, cell=specimen.lattice_a, pbc=True)


def test_polyethylene_is_a_crystal_of_chains():
    specimen = crystal("polyethylene")
    atoms = as_atoms(specimen)
    assert atoms.get_chemical_formula() == "C4H8"
    assert atoms.get_masses().sum() / 0.602214076 / specimen.volume_a3 == pytest.approx(1.008, abs=0.01)  # g/cm³
    i, j, distance, vector = neighbor_list("ijdD", atoms, 1.7)
    symbols = np.array(specimen.symbols)
    bond = (symbols[i] == "C") & (symbols[j] == "H")
    assert bond.sum() == 8
    assert np.allclose(distance[bond], 1.09, atol=1e-3)
    chain = (symbols[i] == "C") & (symbols[j] == "C")
    assert chain.sum() == 8
    assert np.allclose(distance[chain], 1.53, atol=0.02)
    for carbon in np.flatnonzero(symbols == "C"):
        first, second = vector[bond & (i == carbon)]
        assert np.rad2deg(np.arccos(first @ second / 1.09**2)) == pytest.approx(109.47, abs=0.2)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_crystals_are_whole(name):
    specimen = crystal(name)
    assert len(specimen.symbols) == {"polyethylene": 12, "silicon": 8, "sodium_chloride": 8}[name]
    assert np.allclose(specimen.reciprocal_per_a @ specimen.lattice_a.T, np.eye(3))
    assert (specimen.occupancy == 1).all()
    assert ((specimen.fractional >= 0) & (specimen.fractional < 1)).all()


def test_an_unknown_name_is_named():
    with pytest.raises(InputError, match="no crystal 'unobtainium'"):
        load("unobtainium")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_written_crystal_reads_back(tmp_path, name):
    first = crystal(name)
    path = tmp_path / f"{name}.cif"
    write(path, as_atoms(first))
    second = read_crystal(path)
    assert len(second.symbols) == len(first.symbols)
    before, after = (structure_factors(specimen, 0.8) for specimen in (first, second))
    assert np.array_equal(before.hkl, after.hkl)
    # The default B differs from the built-in ones by a smooth factor; the phases do not.
    present = before.structure_factor_a.abs() > 1e-3
    angle = (before.structure_factor_a / after.structure_factor_a)[present].angle().abs()
    assert float(angle.max()) < 1e-3


def test_symmetry_is_expanded_and_rounded_sites_are_one(tmp_path):
    mirrors = ("x,y,z", "-x,y,z", "x,-y,z", "x,y,-z", "-x,-y,z", "-x,y,-z", "x,-y,-z", "-x,-y,-z")
    specimen = read_crystal(written(tmp_path, cif("Fe1 Fe 0.0001 0 0.25 1.0", operations=mirrors)))
    assert len(specimen.symbols) == 2
    assert sorted(specimen.fractional[:, 2].round(6)) == [0.25, 0.75]
    assert np.allclose((specimen.fractional[:, 0] + 0.5) % 1, 0.5)


def test_space_group_without_operations(tmp_path):
    extra = "_space_group_IT_number 225\n_symmetry_space_group_name_H-M 'F m -3 m'"
    assert len(read_crystal(written(tmp_path, cif(extra=extra, operations=()))).symbols) == 4


@pytest.mark.parametrize(
    ("sites", "occupancy"),
    [
        ("Fe1 Fe 0 0 0 0.6\nNi1 Ni 0 0 0 0.4", {"Fe": 0.6, "Ni": 0.4}),
        ("Fe1 Fe 0 0 0 0.6\nFe2 Fe 0 0 0 0.3", {"Fe": 0.9}),
        ("Fe1 Fe 0 0 0 1.0\nFe2 Fe 1.0 0 0 1.0", {"Fe": 1.0}),
        ("Fe1 Fe 0 0 0 ?\nNi1 Ni 0.5 0.5 0.5 0.0", {"Fe": 1.0}),
    ],
)
def test_partial_occupancy_stays_as_a_weight(tmp_path, sites, occupancy):
    specimen = read_crystal(written(tmp_path, cif(sites)))
    assert dict(zip(specimen.symbols, specimen.occupancy.tolist(), strict=True)) == pytest.approx(occupancy)


def test_a_half_occupied_site_scatters_half(tmp_path):
    whole, half = (structure_factors(read_crystal(written(tmp_path, cif(f"Fe1 Fe 0 0 0 {o}"))), 1.0) for o in (1, 0.5))
    assert np.allclose(half.structure_factor_a, whole.structure_factor_a / 2)


def test_displacements_are_read(tmp_path):
    sites = "Fe1 Fe 0 0 0 1.0 0.01\nNi1 Ni 0.5 0.5 0.5 1.0 ?"
    specimen = read_crystal(written(tmp_path, cif(sites, columns="occupancy U_iso_or_equiv")))
    assert specimen.debye_waller_a2 == pytest.approx([8 * np.pi**2 * 0.01, 0.5])
    specimen = read_crystal(written(tmp_path, cif("Fe1 Fe 0 0 0 1.0 1.7", columns="occupancy B_iso_or_equiv")))
    assert specimen.debye_waller_a2 == pytest.approx([1.7])
    specimen = read_crystal(written(tmp_path, cif("C1 C 0 0 0 1\nH1 H 0.5 0.5 0.5 1")))
    assert specimen.debye_waller_a2 == pytest.approx([4.0, 4.0])


def test_a_block_without_atoms_beside_is_ignored(tmp_path):
    text = "data_global\n_journal_year 2021\n" + cif()
    assert read_crystal(written(tmp_path, text)).symbols == ("Fe",)


WRONG = {
    "no atoms": (cif(loop=False), "found no atoms"),
    "empty": ("", "the file is empty"),
    "not a cif": ("these are words; none of them is a crystal\n", "."),
    "binary": ("\x00\x01\x02data", "."),
    "two structures": (cif() + cif(block="two"), "found 2 structures, expected one"),
    "zero side": (cif(cell={"a": 0.0}), "expected sides of 1 to 500 Å"),
    "negative side": (cif(cell={"b": -4.0}), "expected sides of 1 to 500 Å"),
    "side is no number": (cif(cell={"c": "nan"}), "cell parameters that are no finite numbers"),
    "side is unknown": (cif(cell={"c": "?"}), "."),
    "nanometres": (cif(cell={"a": 0.4, "b": 0.4, "c": 0.4}), "unit"),
    "impossible angles": (cif(cell={"alpha": 150, "beta": 150, "gamma": 150}), "which no cell has"),
    "straight angle": (cif(cell={"gamma": 180}), "which no cell has"),
    "unknown element": (cif("Xx1 Xx 0 0 0 1.0"), "found the atom 'Xx', expected an element"),
    "occupancy above 1": (cif("Fe1 Fe 0 0 0 1.5"), "found the occupancy 1.5"),
    "negative occupancy": (cif("Fe1 Fe 0 0 0 -0.5"), "found the occupancy -0.5"),
    "nothing occupied": (cif("Fe1 Fe 0 0 0 0.0"), "no atoms that occupy"),
    "two atoms at one place": (cif("Fe1 Fe 0 0 0 1.0\nNi1 Ni 0 0 0.01 1.0"), "add up to 2"),
    "coordinate missing": (cif("Fe1 Fe ? 0 0 1.0"), "coordinates that are no finite numbers"),
    "too dense": (cif("\n".join(f"Fe{i} Fe {i / 40} 0 0 1.0" for i in range(40)), {"a": 16.0, "b": 1, "c": 1}), "Å³"),
    "unknown space group": (
        cif(extra="_symmetry_space_group_name_H-M 'Q 1 2 3'", operations=()),
        "space group Q 1 2 3, which is not known",
    ),
    "ambiguous origin": (cif(extra="_space_group_IT_number 227", operations=()), "ambiguous; .*'F d -3 m :1' or ':2'"),
    "B is negative": (cif("Fe1 Fe 0 0 0 1 -3", columns="occupancy B_iso_or_equiv"), "Debye–Waller"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_one_sentence(tmp_path, what):
    text, expected = WRONG[what]
    with pytest.raises(InputError, match=expected) as caught:
        read_crystal(written(tmp_path, text))
    sentence = str(caught.value)
    assert sentence.startswith(str(tmp_path / "crystal.cif"))
    assert "\n" not in sentence and len(sentence) < 400
    assert ";" in sentence  # what to change


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        load(str(tmp_path / "none.cif"))
    (tmp_path / "folder.cif").mkdir()
    with pytest.raises(InputError, match="there is no such file"):
        read_crystal(tmp_path / "folder.cif")


def test_real_files(real_data):
    """Polyethylene from a file is the built-in one; the other setting of its space group rotates it."""
    specimen = read_crystal(real_data / "matching" / "polyethylene_Bunn1939_CrystalBuilder.cif")
    ours = structure_factors(crystal("polyethylene"), 1.0)
    theirs = structure_factors(specimen, 1.0)
    assert np.allclose(ours.structure_factor_a, theirs.structure_factor_a, atol=1e-4)
    other = read_crystal(real_data / "matching" / "polyethylene_molsystem.cif")
    assert as_atoms(other).get_chemical_formula() == "C4H8"
    for name, formula in {"2H-MoS2": "Mo2S4", "GaN": "Ga2N2", "SrTiO3-Tausonite": "O3SrTi"}.items():
        assert as_atoms(read_crystal(real_data / "potential" / f"{name}.cif")).get_chemical_formula() == formula
