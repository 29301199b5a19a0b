"""Cells, symmetry and sites of a .cif; what the methods do with them is tested there."""

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
