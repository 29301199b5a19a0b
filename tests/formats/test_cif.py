"""Cells, symmetry and sites of a .cif; what the methods do with them is tested there."""

import numpy as np
import pytest

from workflow_scripts.formats.cif import StructureError, cell, distinct, operations, sites, structure_block

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


def test_a_group_by_name_makes_the_whole_cell():
    block = structure_block(SALT.encode())
    symbols, places = sites(block)
    assert symbols == ["Na", "Cl"]
    lattice_a = cell(block)
    assert np.allclose(lattice_a, 5.64 * np.eye(3))
    rotations, translations = operations(block, lattice_a)
    assert len(rotations) == 192
    images = distinct((rotations @ places[1] + translations) % 1.0, lattice_a)
    assert sorted(map(tuple, images.round(3) % 1)) == [(0, 0, 0.5), (0, 0.5, 0), (0.5, 0, 0), (0.5, 0.5, 0.5)]


def test_images_that_rounding_sets_apart_are_one_in_the_middle():
    images = np.array([[0.333, 0.667, 0.0], [0.334, 0.666, 0.0], [0.9995, 0.0, 0.5], [0.0005, 0.0, 0.5]])
    found = distinct(images, 5.0 * np.eye(3))
    assert len(found) == 2
    assert found[0] == pytest.approx([0.3335, 0.6665, 0.0])
    assert found[1] % 1.0 == pytest.approx([0.0, 0.0, 0.5], abs=1e-9) or found[1] == pytest.approx([1.0, 0.0, 0.5])


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
