"""Patterns re-drawn at their in-plane angle are those that the simulator calculates there."""

import numpy as np
import pytest
import torch

from tests.matching.crystals import crystal
from tests.matching.toy_predictions import toy_queries
from workflow_scripts.matching.evaluation import examples
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.orientations import (
    from_direction,
    nearest_direction,
    random_rotations,
    rotation_about_z,
)


@pytest.mark.parametrize("angle_deg", [0.0, 17.0, 90.0, -160.0])
def test_a_turned_pattern_is_that_of_the_turned_crystal(angle_deg):
    light = DiffractionSettings(voltage_kv=200.0, side_px=64, pixel_size_per_a=0.03, spot_px=1.2, thickness_nm=10.0)
    simulator = Simulator(crystal("polyethylene"), light)
    directions = random_rotations(6, torch.Generator().manual_seed(0))[:, 2]
    still = from_direction(directions)
    turned = rotation_about_z(torch.tensor(angle_deg, dtype=torch.float64).deg2rad()) @ still
    y, x = np.indices((64, 64)) - 31.5
    inside = np.hypot(y, x) < 30
    for before, expected in zip(simulator.patterns(still).numpy(), simulator.patterns(turned).numpy(), strict=True):
        redrawn = examples.rotated(before, np.radians(angle_deg))
        assert np.corrcoef(redrawn[inside], expected[inside])[0, 1] > 0.98


def test_the_true_pattern_is_drawn_from_the_nearest_direction_by_symmetry():
    queries = toy_queries(number=1, with_map=False)
    _, row, operation = nearest_direction(queries.rotation[:, 2], queries.gallery_rotation[:, 2], queries.symmetry)
    for query in range(len(queries)):
        equivalent = queries.gallery_rotation[row[query]] @ queries.symmetry[operation[query]]
        angle = examples.in_plane_rad(queries.rotation[query], equivalent)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        away = turn @ equivalent @ queries.rotation[query].T
        assert np.degrees(np.arccos((np.trace(away) - 1) / 2)) < 6
