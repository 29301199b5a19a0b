"""The recipe's specimen: a block in vacuum keeps its interatomic distances when it is rotated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from workflow_scripts.potential.settings import BUILT_IN
from workflow_scripts.potential.simulation.patches import patch
from workflow_scripts.potential.simulation.structures import crystal

CELL_A = (25.6, 25.6)
ROOMY_A = (60.0, 70.0)


def block(material="SrTiO3", **changed):
    arguments = {"cell_a": ROOMY_A, "side_a": 12.0, "thickness_a": 20.0, "rotation_deg": 0.0} | changed
    return patch(crystal(material), **arguments)


@pytest.mark.parametrize("material", BUILT_IN)
@settings(max_examples=4, deadline=None)
@given(
    rotation_deg=st.floats(-400, 400),
    tilt_deg=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_turning_keeps_all_distances(material, rotation_deg, tilt_deg):
    still = block(material)
    turned = block(material, rotation_deg=rotation_deg, tilt_deg=tilt_deg)
    assert turned.symbols == still.symbols
    assert np.allclose(pdist(turned.positions_a), pdist(still.positions_a), atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    side_a=st.floats(4, 30),
    thickness_a=st.floats(4, 40),
    rotation_deg=st.floats(0, 360),
    tilt_deg=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
)
def test_all_atoms_lie_in_the_cell_and_begin_at_zero(side_a, thickness_a, rotation_deg, tilt_deg):
    turned = patch(crystal("GaN"), CELL_A, side_a, thickness_a, rotation_deg, tilt_deg)
    assert (turned.positions_a >= 0).all() and (turned.positions_a < turned.cell_a).all()
    assert turned.positions_a[:, 0].min() == 0
    assert turned.cell_a[0] >= thickness_a and turned.cell_a[1:] == CELL_A
    assert len(turned.symbols) == len(turned.debye_waller_a2) == len(turned.positions_a)


def test_number_of_atoms_is_that_of_the_volume():
    repeats = np.array([5, 3, 3])
    depth, side, _ = repeats * crystal("SrTiO3").cell_a
    assert len(block(side_a=float(side), thickness_a=float(depth)).symbols) == 5 * repeats.prod()


def test_vacuum_surrounds_the_block():
    positions = block().positions_a
    assert (np.abs(positions[:, 1:] - np.array(ROOMY_A) / 2) <= 6 + 1e-6).all()
    assert np.ptp(positions[:, 0]) < 20


def relative(crystal):
    return crystal.positions_a[:, 1:] - np.array(ROOMY_A) / 2


def test_rotation_turns_x_towards_y():
    still, turned = relative(block()), relative(block(rotation_deg=90.0))
    assert np.allclose(turned[:, 0], still[:, 1], atol=1e-9)  # y is what x was
    assert np.allclose(turned[:, 1], -still[:, 0], atol=1e-9)


def test_tilts_shear_the_columns_along_their_axes():
    """About y the top moves towards +x, about x towards -y, by thickness times the angle."""
    still = block(thickness_a=400.0)
    height = still.positions_a[:, 0]
    for tilt_deg, axis, sign in (((0.5, 0.0), 1, 1), ((0.0, 0.5), 0, -1)):
        moved = relative(block(thickness_a=400.0, tilt_deg=tilt_deg)) - relative(still)
        slope = np.polyfit(height, moved[:, axis], 1)[0]
        assert slope == pytest.approx(sign * np.radians(0.5), rel=0.01)
        assert np.abs(moved[:, 1 - axis]).max() < 1e-9


def test_the_middle_of_the_block_stays_in_the_middle_of_the_cell():
    turned = block(thickness_a=400.0, rotation_deg=33.0, tilt_deg=(0.4, -0.3))
    assert np.abs(relative(turned).mean(axis=0)).max() < 1.0  # half a cell of the crystal


def test_the_centre_chooses_the_part_of_the_crystal():
    _, height, width = crystal("GaN").cell_a
    here, moved = block("GaN"), block("GaN", centre_a=(1.0, 0.7))
    assert not np.array_equal(here.positions_a[:5], moved.positions_a[:5])
    period = block("GaN", centre_a=(height, -2 * width))
    assert np.allclose(here.positions_a, period.positions_a, atol=1e-9) and here.symbols == period.symbols


def test_a_block_wider_than_the_cell_is_folded_back():
    roomy = patch(crystal("SrTiO3"), (80.0, 80.0), 22.0, 8.0, 45.0)
    folded = patch(crystal("SrTiO3"), CELL_A, 22.0, 8.0, 45.0)
    assert len(folded.symbols) == len(roomy.symbols)
    shift = (roomy.positions_a[:, 1:] - 40.0) - (folded.positions_a[:, 1:] - 12.8)
    assert np.abs(shift).max() > 20 and np.allclose(shift / 25.6, (shift / 25.6).round(), atol=1e-9)


def test_the_layer_is_taken_once():
    layer = crystal("MoS2").layer()
    once = patch(layer, CELL_A, 20.0, layer.cell_a[0], 10.0)
    symbols = np.array(once.symbols)
    assert np.ptp(once.positions_a[symbols == "Mo", 0]) < 1e-9
    assert (symbols == "S").sum() == pytest.approx(2 * (symbols == "Mo").sum(), rel=0.1)


def test_the_same_arguments_give_the_same_atoms():
    first, again = (block("LiCoO2", rotation_deg=12.3, tilt_deg=(0.1, 0.2)) for _ in range(2))
    assert first.symbols == again.symbols and np.array_equal(first.positions_a, again.positions_a)


def test_a_block_between_the_atoms_is_refused():
    with pytest.raises(ValueError, match="no atom"):
        block(side_a=0.5, thickness_a=0.5, centre_a=(1.0, 1.0))
