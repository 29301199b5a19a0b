"""The physical refit: derivatives, what it recovers, its prior, which queries it answers."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.matching.crystals import crystal
from tests.matching.training import CPU, REFIT, SYNTHESIZE, pairs, queries, seeded
from workflow_scripts.matching.estimators.refit import Prior, Refit, answered, background_of, refitted
from workflow_scripts.matching.networks.retrieval import Gallery, Predictions
from workflow_scripts.matching.simulation.fitted import PatternModel, moved, states
from workflow_scripts.matching.simulation.kinematic import Simulator, render, shares
from workflow_scripts.matching.simulation.misorientation import misorientation_deg
from workflow_scripts.matching.simulation.orientations import random_rotations, small_rotations

SIMULATOR = Simulator(crystal("polyethylene"), SYNTHESIZE.diffraction)
SIDE = SYNTHESIZE.diffraction.side_px
SYMMETRY = queries().symmetry


def model(mosaic_deg: float = 0.25) -> PatternModel:
    return PatternModel(SIMULATOR, mosaic_deg, torch.ones(SIDE, SIDE, dtype=torch.bool), 64)


VALUES = torch.tensor([0.1, 0.3, -0.2, 0.01, -0.005, 0.004, 0.5])


def test_slopes_are_those_of_finite_differences():
    fitted, state = model(), states(random_rotations(4, seeded(3)).float(), VALUES.expand(4, -1))
    background = torch.full((4, SIDE, SIDE), 1 / SIDE**2)
    rows = fitted.strongest(state)
    expected, slopes = fitted.expected(state, rows, background)
    assert torch.allclose(expected.sum(dim=(1, 2)), torch.ones(4), atol=1e-5)
    for parameter, size in enumerate([1e-3] * 3 + [3e-3] + [2e-2] * 2 + [1e-3] * 3 + [1e-2]):
        step = torch.zeros(4, 10)
        step[:, parameter] = size
        ahead, behind = (fitted.expected(moved(state, sign * step), rows, background, False)[0] for sign in (1, -1))
        numeric = (ahead - behind) / (2 * size)
        scale = numeric.abs().amax(dim=(1, 2))
        assert ((numeric - slopes[:, parameter]).abs().amax(dim=(1, 2)) < 0.03 * scale + 1e-5).all(), parameter


def test_without_mosaic_and_background_the_model_is_the_kinematic_pattern():
    share, turns = 0.95, random_rotations(3, seeded()).float()
    state = states(turns, torch.tensor([0.0, 0, 0, 0, 0, 0, share]).expand(3, -1))
    fitted = model(mosaic_deg=0.0)
    pattern, _ = fitted.expected(state, fitted.strongest(state), torch.zeros(3, SIDE, SIDE), slopes=False)
    exact = shares(render(*SIMULATOR.spots_px(turns), SIDE, 0.8))
    assert (pattern / share - exact).abs().sum(dim=(1, 2)).max() < 0.05


@pytest.fixture(scope="module")
def refit() -> Refit:
    prior = Prior.of(pairs(), REFIT.thickness_spread)
    return Refit(SIMULATOR, prior, REFIT.model_copy(update={"mosaic_deg": 0.05}))


def test_candidates_within_a_degree_are_brought_to_the_truth_and_others_stay_behind(refit):
    truth = random_rotations(6, seeded(7))
    counts = torch.poisson(1e4 * SIMULATOR.patterns(truth) + 1e4 / SIDE**2, generator=seeded())
    near = small_rotations((6, 1), 0.4, seeded(1)) @ truth[:, None]
    candidates = torch.cat([random_rotations(18, seeded(2)).view(6, 3, 3, 3), near], dim=1)
    found = refit.fit(counts, candidates.float())
    before, after = (
        misorientation_deg(part.double().numpy(), truth.numpy(), SYMMETRY) for part in (near, found.rotation)
    )
    assert np.median(after[:, 0]) < 0.15 < np.median(before)
    assert (found.gallery_index[:, 0] == 3).sum() >= 5
    assert (found.score[:, :-1] >= found.score[:, 1:]).all()


def test_a_refit_never_makes_the_likelihood_worse(refit):
    counts = torch.poisson(300 * SIMULATOR.patterns(random_rotations(3, seeded(9))) + 300 / SIDE**2, generator=seeded())
    candidates = random_rotations(12, seeded(4)).view(3, 4, 3, 3).float()
    once = refit.fit(counts, candidates)
    again = refit.fit(counts, once.rotation)
    # Only the orientation is handed on, so that the other values begin anew.
    assert (again.score[:, 0] > once.score[:, 0] - 0.02).all()
    empty = refit.fit(torch.zeros(1, SIDE, SIDE), candidates[:1])
    assert torch.isfinite(empty.score).all() and torch.isfinite(empty.rotation).all()


def test_the_result_does_not_depend_on_the_patterns_beside_it(refit):
    counts = torch.from_numpy(queries().counts[:3])
    candidates = random_rotations(60, seeded(4)).view(3, 20, 3, 3).float()
    found = Predictions(candidates, torch.zeros(3, 20), torch.zeros(3, 20, dtype=torch.long))
    gallery = Gallery.of(queries().gallery_rotation, SYMMETRY, CPU)
    together = refitted(refit, counts, found, gallery, 15)
    alone = refitted(refit, counts[1:2], Predictions(*(part[1:2] for part in vars(found).values())), gallery, 15)
    assert torch.equal(together.rotation[1:2], alone.rotation)
    assert together.rotation.shape == (3, 15, 3, 3)
    # The first score is that of the candidates, the others are below it
    assert not together.score[:, 0].any() and (together.score[:, :-1] >= together.score[:, 1:]).sum() >= 3 * 13


def test_the_prior_is_the_spread_of_the_training_pairs():
    prior = Prior.of(pairs(), 0.2)
    camera, ranges = prior.spread, SYNTHESIZE.observation
    assert camera[1:3] == pytest.approx([ranges.centre_px] * 2, rel=0.35)
    assert float(camera[3]) == pytest.approx(ranges.camera_length / math.sqrt(3), rel=0.35)
    assert prior.visible.shape == (SIDE, SIDE) and not prior.visible[SIDE // 2, SIDE // 2] and prior.visible[0, 0]
    assert prior.mean[6] == 0.5


def test_the_background_of_a_ring_ignores_few_bright_pixels():
    counts = torch.full((1, SIDE, SIDE), 2.0)
    counts[0, 20, 20] = 500
    assert torch.allclose(background_of(counts), torch.full_like(counts, 2.0), atol=0.01)


def test_the_headline_is_answered_first_and_of_other_groups_a_part():
    number = SYNTHESIZE.queries
    rows = answered(queries(), REFIT)
    assert (np.diff(rows) > 0).all() and (rows[:number] == np.arange(number)).all()
    kinds = queries().kind[rows]
    assert set(kinds) == set(queries().kind)
    assert (kinds == "map").sum() == REFIT.map_queries and (kinds == "damaged").sum() == REFIT.other_queries
    most = dict.fromkeys(("first_queries", "map_queries", "other_queries"), 10**6)
    assert len(answered(queries(), REFIT.model_copy(update=most))) == len(queries())


def test_the_refit_of_a_crystal_with_few_reflections_takes_them_all():
    light = dataclasses.replace(SIMULATOR.crystal, name="same")
    few = PatternModel(Simulator(light, SYNTHESIZE.diffraction), 0.25, torch.ones(SIDE, SIDE), 10**6)
    assert few.strongest(states(torch.eye(3)[None], VALUES[None])).shape == (1, len(SIMULATOR.g_per_a))
