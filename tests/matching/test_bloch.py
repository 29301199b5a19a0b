"""Bloch waves: electrons are conserved, thin crystals are kinematic, domains are averaged."""

import torch

from tests.matching.crystals import crystal
from tests.matching.training import SYNTHESIZE
from workflow_scripts.matching.simulation.bloch import BlochSimulator
from workflow_scripts.matching.simulation.kinematic import Simulator, render
from workflow_scripts.matching.simulation.orientations import random_rotations, rotation_about_z

LIGHT = SYNTHESIZE.diffraction


def rotations(number: int) -> torch.Tensor:
    return random_rotations(number, torch.Generator().manual_seed(0))


def images(simulator: Simulator, turns: torch.Tensor, thickness_nm: float) -> torch.Tensor:
    spots = simulator.spots(turns, torch.full((len(turns),), thickness_nm))
    return render(spots.position_per_a / 0.03 + 31.5, spots.intensity, 64, 1.0)


def test_no_more_electrons_come_out_than_went_in():
    turns = rotations(20)
    for thickness_nm in (1.0, 30.0, 200.0):
        spots = BlochSimulator(crystal("silicon"), LIGHT, beams=60).spots(turns, torch.full((20,), thickness_nm))
        assert float(spots.intensity.sum(dim=1).max()) <= 1 + 1e-6
        assert (spots.intensity[:, :-1] >= spots.intensity[:, 1:]).all()


def test_thin_crystals_are_kinematic_and_thick_ones_are_not():
    turns = rotations(12)
    kinematic, dynamical = (made(crystal("silicon"), LIGHT) for made in (Simulator, BlochSimulator))
    for thickness_nm, low, high in ((0.3, 0.0, 0.03), (40.0, 0.06, 9.0)):
        theirs, ours = (images(made, turns, thickness_nm) for made in (kinematic, dynamical))
        off = (ours - theirs).abs().sum(dim=(1, 2)) / theirs.sum(dim=(1, 2))
        assert low <= float(off.median()) <= high


def test_a_turn_in_the_plane_turns_the_pattern_and_domains_are_averaged():
    simulator, turns = BlochSimulator(crystal("polyethylene"), LIGHT, beams=40), rotations(2)
    quarter = rotation_about_z(torch.full((2,), torch.pi / 2, dtype=torch.float64)) @ turns
    plain, turned = images(simulator, turns, 10.0), images(simulator, quarter, 10.0)
    # From +x to +y, with the rows along y
    assert torch.allclose(turned, plain.rot90(-1, (1, 2)), atol=1e-5)
    together = simulator.spots(torch.stack([turns, quarter], dim=1), torch.full((2,), 10.0))
    image = render(together.position_per_a / 0.03 + 31.5, together.intensity, 64, 1.0)
    assert float((image - (plain + turned) / 2).abs().sum() / image.sum()) < 0.02
