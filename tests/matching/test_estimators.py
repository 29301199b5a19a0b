"""Who finds what: perfect patterns by every estimator, answers that differ, the angle between the samples."""

import numpy as np
import pytest
import torch

from tests.matching.training import CPU, NETWORK, SYNTHESIZE, pairs, queries, seeded
from workflow_scripts.matching.crystals import crystal
from workflow_scripts.matching.datasets import diffraction_of
from workflow_scripts.matching.encoding import turned
from workflow_scripts.matching.estimators import answers, baseline, chance, of_weights
from workflow_scripts.matching.kinematic import Simulator
from workflow_scripts.matching.model import Matcher
from workflow_scripts.matching.orientations import misorientation_deg, rotation_about_z
from workflow_scripts.matching.retrieval import APART_DEG, Gallery, best_answers
from workflow_scripts.matching.variants import VARIANTS

GALLERY = torch.from_numpy(queries().gallery)
ROTATION, SYMMETRY = (torch.from_numpy(part) for part in (queries().gallery_rotation, queries().symmetry))


@pytest.mark.parametrize("name", ["ncc", "polar_template", "untrained"])
def test_a_noiseless_pattern_of_the_gallery_is_found_with_its_angle(name):
    angle = torch.tensor([20.0, 97.5, 181.0, 300.0])
    truth = rotation_about_z(torch.deg2rad(angle).double()) @ ROTATION[10:14]
    simulator = Simulator(crystal("polyethylene"), diffraction_of(SYNTHESIZE.diffraction))
    counts = 1e4 * simulator.patterns(truth)
    estimator = baseline(name, GALLERY, pairs(), NETWORK, CPU)
    found = best_answers(estimator.curves(counts), Gallery.of(queries().gallery_rotation, queries().symmetry, CPU), 3)
    away = misorientation_deg(found.rotation[:, 0].double(), truth, SYMMETRY)
    # At a gallery of 120 directions another may look as alike.
    assert (away < 3.5).sum() >= 3
    assert (found.score[:, :-1] >= found.score[:, 1:]).all()


class Flat(torch.nn.Module):
    """An encoder that says nothing but the pattern itself."""

    def forward(self, patterns):
        return torch.nn.functional.normalize(patterns.flatten(1), dim=1)


def test_the_published_estimator_tries_every_angle():
    for finetuned in (False, True):
        estimator = of_weights(Matcher(Flat(), Flat()), VARIANTS["published"], finetuned, GALLERY, CPU, "float32")
        query = turned(GALLERY[30:33], torch.full((3,), 50.0))
        curves = estimator.curves(query)
        assert curves.shape == (3, len(GALLERY), 72)
        assert (curves[torch.arange(3), torch.arange(30, 33)].argmax(dim=1) == 10).all()
        assert float(curves.abs().max()) <= 1 + 1e-5
        # Only after pretraining are patterns normalised, as in it.
        assert bool((estimator.curves(query + 1) - curves).abs().max() < 1e-3) != finetuned


def test_answers_differ_from_each_other_and_the_angle_lies_between_the_samples():
    angles = 24
    frames = Gallery.of(queries().gallery_rotation, queries().symmetry, CPU)
    true = 5.3
    bump = torch.cos(2 * torch.pi * (torch.arange(angles) - true) / angles)
    curves = torch.full((1, len(ROTATION), angles), -1.0) + 0.01 * torch.rand(1, len(ROTATION), 1, generator=seeded())
    curves[0, 40] = bump
    found = best_answers(curves, frames, 5)
    expected = rotation_about_z(torch.tensor([2 * torch.pi * true / angles], dtype=torch.float64)) @ ROTATION[40:41]
    assert float(misorientation_deg(found.rotation[:, 0].double(), expected, SYMMETRY)) < 0.3
    for first in range(5):
        for second in range(first + 1, 5):
            one, other = (found.rotation[:, k].double() for k in (first, second))
            assert float(misorientation_deg(one, other, SYMMETRY)) > APART_DEG - 0.01


def test_every_query_is_answered_in_order_and_chance_is_random():
    estimator = baseline("polar_template", GALLERY, pairs(), NETWORK, CPU)
    found = answers(estimator, queries(), 50, 15, CPU)
    assert found["rotation"].shape == (len(queries()), 15, 3, 3)
    one = answers(estimator, queries(), 7, 15, CPU)
    assert np.allclose(one["score"], found["score"], atol=1e-5)
    guessed = chance(queries(), 15, 0)
    assert guessed["score"].shape == (len(queries()), 15)
    plain = queries().kind == "plain"
    away = misorientation_deg(
        torch.from_numpy(guessed["rotation"][plain, 0]).double(), torch.from_numpy(queries().rotation[plain]), SYMMETRY
    )
    assert 50 < float(away.median()) < 100
