"""The built-in crystals are the ones of the literature, and they repeat without a seam."""

from collections import Counter

import numpy as np
import pytest

from tests.potential.conftest import density, distances
from workflow_scripts.potential.settings import BUILT_IN
from workflow_scripts.potential.simulation import structures
from workflow_scripts.potential.simulation.structures import crystal

# Formula, X-ray density in g/cm³, and the shortest distances of pairs of elements in Å, as the literature has them:
# GaN 6.08 to 6.15; LiCoO2 with Co-O 1.92, Li-O 2.09, O-O in CoO6 2.618; KNbO3 with Nb-O 1.87; MoS2 with Mo-S 2.42.
LITERATURE = {
    "GaN": ({"Ga": 1, "N": 1}, 6.10, {("Ga", "N"): 1.95, ("Ga", "Ga"): 3.18}),
    "LiCoO2": ({"Li": 1, "Co": 1, "O": 2}, 5.06, {("Co", "O"): 1.92, ("Li", "O"): 2.09, ("O", "O"): 2.618}),
    "KNbO3": ({"K": 1, "Nb": 1, "O": 3}, 4.62, {("Nb", "O"): 1.87}),
    "CsPbI3": ({"Cs": 1, "Pb": 1, "I": 3}, 4.80, {("Pb", "I"): 3.14}),
    "MoS2": ({"Mo": 1, "S": 2}, 5.00, {("Mo", "S"): 2.42, ("S", "S"): 3.16}),
    "SrTiO3": ({"Sr": 1, "Ti": 1, "O": 3}, 5.12, {("Ti", "O"): 1.95, ("Sr", "O"): 2.76}),
}


@pytest.fixture(params=BUILT_IN)
def built_in(request):
    return crystal(request.param)


def test_every_material_is_checked_against_the_literature():
    assert set(LITERATURE) == set(BUILT_IN)


def test_stoichiometry(built_in):
    formula = LITERATURE[built_in.material][0]
    units = len(built_in.symbols) / sum(formula.values())
    assert Counter(built_in.symbols) == {symbol: units * count for symbol, count in formula.items()}


def test_density_is_that_of_the_literature(built_in):
    assert density(built_in) == pytest.approx(LITERATURE[built_in.material][1], rel=0.005)


def test_nearest_neighbours_are_as_far_as_in_the_literature(built_in):
    found = distances(built_in)
    for pair, expected in LITERATURE[built_in.material][2].items():
        assert found[pair].min() == pytest.approx(expected, abs=0.012), pair
    assert min(values.min() for values in found.values()) > 1.8


def test_coordination():
    """Neighbours in the first shell: wurtzite 4, octahedra 6, trigonal prisms 6."""
    shells = {
        ("GaN", "Ga", "N", 2.1): 4,
        ("LiCoO2", "Co", "O", 2.0): 6,
        ("LiCoO2", "Li", "O", 2.2): 6,
        ("KNbO3", "Nb", "O", 2.3): 6,
        ("CsPbI3", "Pb", "I", 3.3): 6,
        ("MoS2", "Mo", "S", 2.6): 6,
        ("SrTiO3", "Ti", "O", 2.1): 6,
    }
    for (material, centre, around, cutoff_a), expected in shells.items():
        built_in = crystal(material)
        pairs = distances(built_in, cutoff_a)[centre, around]
        assert len(pairs) == expected * built_in.symbols.count(centre), material


def test_niobium_is_off_the_middle_of_its_octahedron():
    """Two short, two middle and two long bonds, Å, as the orthorhombic phase has."""
    bonds = distances(crystal("KNbO3"), 2.3)["Nb", "O"].reshape(3, -1)
    assert np.allclose(bonds, [[1.87], [2.00], [2.17]], atol=0.01)


def test_atoms_lie_in_the_cell_in_the_order_of_the_beam(built_in):
    assert built_in.positions_a.dtype == np.float64
    assert (built_in.positions_a >= 0).all() and (built_in.positions_a < built_in.cell_a).all()
    assert (np.diff(built_in.positions_a[:, 0]) > -1e-5).all()
    assert len(built_in.debye_waller_a2) == len(built_in.symbols) == len(built_in.positions_a)


@pytest.mark.parametrize("material", ["GaN", "LiCoO2", "MoS2"])
def test_hexagonal_cells_are_a_times_root_three_a(material):
    _, height, width = crystal(material).cell_a
    assert height == pytest.approx(3**0.5 * width, rel=1e-9)
    assert width == pytest.approx({"GaN": 3.190, "LiCoO2": 2.8161, "MoS2": 3.1602}[material])


def test_the_beam_runs_along_the_c_axis_of_hexagonal_cells_and_a_cube_axis_of_perovskites():
    depths = {material: crystal(material).cell_a[0] for material in BUILT_IN}
    assert depths == pytest.approx(
        {"GaN": 5.189, "LiCoO2": 14.0536, "KNbO3": 3.973, "CsPbI3": 6.2894, "MoS2": 12.294, "SrTiO3": 3.90528}
    )


def test_tiling_neither_loses_nor_doubles_an_atom(built_in):
    """Every copy has the same neighbours as the single cell, also across the seams."""
    tiled = built_in.tiled((2, 2, 2))
    assert len(tiled.symbols) == len(tiled.debye_waller_a2) == 8 * len(built_in.symbols)
    assert (tiled.positions_a < tiled.cell_a).all()
    single, eightfold = distances(built_in), distances(tiled)
    assert single.keys() == eightfold.keys()
    for pair, values in single.items():
        assert np.allclose(np.repeat(values, 8), eightfold[pair], atol=1e-9), pair


def test_tiling_follows_the_order_depth_height_width(built_in):
    depth, height, width = built_in.cell_a
    tiled = built_in.tiled((1, 2, 3))
    assert tiled.cell_a == pytest.approx((depth, 2 * height, 3 * width))
    assert density(tiled) == pytest.approx(density(built_in))


def test_debye_waller_factors_belong_to_the_element(built_in):
    factors = set(zip(built_in.symbols, built_in.debye_waller_a2, strict=True))
    assert len(factors) == len(set(built_in.symbols))
    assert all(0.1 < factor < 3 for _, factor in factors)


def test_published_debye_waller_factors_and_the_default():
    factors = dict(zip(crystal("SrTiO3").symbols, crystal("SrTiO3").debye_waller_a2, strict=True))
    assert factors == {"Sr": 0.6214, "Ti": 0.4398, "O": 0.7323}
    assert set(crystal("LiCoO2").debye_waller_a2) == {structures.DEFAULT_DEBYE_WALLER_A2}


def test_a_layer_of_molybdenum_disulfide():
    bulk, layer = crystal("MoS2"), crystal("MoS2").layer()
    assert Counter(layer.symbols) == {"Mo": 2, "S": 4}
    assert layer.cell_a[1:] == bulk.cell_a[1:] and layer.cell_a[0] == pytest.approx(bulk.cell_a[0] / 2)
    heights = {symbol: layer.positions_a[np.array(layer.symbols) == symbol, 0] for symbol in ("Mo", "S")}
    assert np.ptp(heights["Mo"]) < 1e-9
    assert np.ptp(heights["S"]) == pytest.approx(3.172, abs=0.01)  # the two sulfur planes
    assert heights["S"].mean() == pytest.approx(heights["Mo"].mean())
    assert np.allclose(distances(layer, 2.6)["Mo", "S"], 2.417, atol=0.002)
    assert len(distances(layer, 2.6)["Mo", "S"]) == 6 * 2


def test_only_the_built_in_disulfide_has_a_layer():
    with pytest.raises(ValueError, match="only the built-in MoS2"):
        crystal("GaN").layer()
    with pytest.raises(ValueError, match="only the built-in MoS2"):
        crystal("MoS2").tiled((2, 1, 1)).layer()
