"""Cells, symmetry and sites of a .cif; what the methods do with them is tested there."""

import gemmi
import numpy as np
import pytest

from workflow_scripts.formats.cif import StructureError, cell, operations, sites, structure_block

SALT = """data_salt
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1+ 0 0 0
Cl1- 0.5 0.5 0.5
"""


def test_a_group_by_name_has_all_its_operations():
    block = structure_block(SALT.encode())
    symbols, places = sites(block)
    assert symbols == ["Na", "Cl"]
    assert np.array_equal(places, [[0, 0, 0], [0.5, 0.5, 0.5]])
    lattice_a = cell(block)
    assert np.allclose(lattice_a, 5.64 * np.eye(3))
    assert len(operations(block, lattice_a)[0]) == 192


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("_atom_site_fract_x", "_atom_site_x"), "found no atoms"),
        (("_cell_length_a 5.64", "_cell_length_a 0.01"), "expected sides of"),
        (("_cell_angle_gamma 90", "_cell_angle_gamma 181"), "which no cell has"),
        (("Na1+ 0 0 0", "Xx 0 0 0"), "expected an element"),
        (("Na1+ 0 0 0", "Na1+ 0 ? 0"), "no finite numbers"),
        (("'F m -3 m'", "'Q 1 2 3'"), "not known"),
    ],
)
def test_what_is_wrong_is_one_sentence(change, words):
    with pytest.raises(StructureError) as caught:
        block = structure_block(SALT.replace(*change).encode())
        sites(block)
        operations(block, cell(block))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def operations_of(statement, gamma="90"):
    """The operations that a cell with this statement about its symmetry has, translations modulo 1."""
    text = SALT.replace("_space_group_name_H-M_alt 'F m -3 m'", statement).replace("gamma 90", f"gamma {gamma}")
    block = structure_block(text.encode())
    return as_set(*operations(block, cell(block)))


def as_set(rotations, translations):
    return {
        (*r.astype(int).ravel(), *(24 * t).round().astype(int) % 24)
        for r, t in zip(rotations, translations, strict=True)
    }


@pytest.mark.parametrize("tag", ["name_H-M_alt", "name_Hall", "all"])
def test_every_setting_is_known_by_its_name_and_hall_symbol(tag):
    for setting in gemmi.spacegroup_table():
        hall = f"_space_group_name_Hall\n;{setting.hall}\n;"
        name = f"_space_group_name_H-M_alt '{setting.xhm()}'"
        number = f"_space_group_IT_number {setting.number}"
        statement = {"name_H-M_alt": name, "name_Hall": hall, "all": f"{name}\n{number}\n{hall}"}[tag]
        group = list(setting.operations())
        expected = as_set(np.array([op.rot for op in group]) // 24, np.array([op.tran for op in group]) / 24)
        hexagonal = setting.crystal_system_str() in ("trigonal", "hexagonal") and setting.ext != "R"
        assert operations_of(statement, "120" if hexagonal else "90") == expected, setting.xhm()


@pytest.mark.parametrize(
    ("number", "gamma", "count"), [(14, "90", 4), (166, "120", 36), (166, "90", 12), (225, "90", 192)]
)
def test_a_number_alone_means_the_standard_setting(number, gamma, count):
    """Of a rhombohedral group that of the cell's axes."""
    assert len(operations_of(f"_space_group_IT_number {number}", gamma)) == count


def listed(*words):
    return "loop_\n_space_group_symop_operation_xyz\n" + "".join(f"'{word}'\n" for word in words)


P21 = "x,y,z", "-x,y+1/2,-z"


def test_listed_operations_count_whatever_the_origin():
    assert len(operations_of(listed(*P21) + "_space_group_name_H-M_alt 'P 21'")) == 2
    assert len(operations_of(listed("x,y,z", "-x+0.25,y+1/2,-z") + "_space_group_name_H-M_alt 'P 21'")) == 2
    assert len(operations_of(listed(*P21) + "_space_group_name_H-M_alt 'what nobody knows'")) == 2


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            listed(*P21) + "_space_group_name_H-M_alt 'P 2'",
            "the list of operations and the space group P 2, which contra",
        ),
        (listed(*P21) + "_space_group_IT_number 5", "and the space group 5, which contradict"),
        ("_space_group_name_H-M_alt 'P 21/c'\n_space_group_IT_number 15", "which contradict each other"),
        ("_space_group_name_H-M_alt 'P 21/c'\n_space_group_name_Hall '-P 2yn'", "which contradict each other"),
        ("_space_group_name_H-M_alt 'F d -3 m'", "ambiguous; .*origin, 'F d -3 m :1' or ':2'"),
        ("_space_group_IT_number 227", "ambiguous"),
        ("_space_group_name_Hall 'what nobody knows'", "not known"),
        ("_space_group_IT_number 231", "not known"),
        ("_space_group_magn.number_BNS 62.448", "magnetic symmetry"),
        ("loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n-x,-y,z,-1", "magnetic symmetry"),
        (listed("x,y,z,+1"), "found the symmetry operation 'x,y,z,\\+1'"),
        (listed("h-k,h,l"), "found the symmetry operation 'h-k,h,l'"),
        (listed("x,y,2z"), "found the symmetry operation"),
        (listed("x,y,z/2"), "found the symmetry operation"),
        (listed(*["x,y,z"] * 193), "at most 192"),
    ],
)
def test_symmetry_that_cannot_be_is_one_sentence(statement, words):
    with pytest.raises(StructureError, match=words) as caught:
        operations_of(statement + "\n")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("statement", ["_space_group_IT_number 4", "_space_group_name_H-M_alt 'P 21/c'"])
def test_a_group_about_another_axis_than_the_cells_is_refused(statement):
    with pytest.raises(StructureError, match="which the cell does not have; correct it"):
        operations_of(statement + "\n", "100")
