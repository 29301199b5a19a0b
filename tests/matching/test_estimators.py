"""Estimators and retrieval: noiseless patterns, distinct candidates, in-plane angles between the samples."""

import pytest
import torch

from tests.matching.crystals import crystal
from tests.matching.training import CPU, NETWORK, SYNTHESIZE, pairs, queries, seeded
from workflow_scripts.matching.estimators.ncc import CrossCorrelation
from workflow_scripts.matching.estimators.network import NetworkEstimator
from workflow_scripts.matching.estimators.polar_template import PolarTemplates
from workflow_scripts.matching.networks.encoding import rotated
from workflow_scripts.matching.networks.model import Encoder, Matcher, make_matcher
from workflow_scripts.matching.networks.retrieval import APART_DEG, Gallery, best_orientations, predict_queries
from workflow_scripts.matching.settings import VARIANTS, SharedPredict
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.misorientation import misorientation_deg
from workflow_scripts.matching.simulation.orientations import rotation_about_z

GALLERY = torch.from_numpy(queries().gallery)
ROTATION, SYMMETRY = (torch.from_numpy(part) for part in (queries().gallery_rotation, queries().symmetry))


ESTIMATORS = {
    "ncc": lambda: CrossCorrelation.tuned(GALLERY, pairs(), CPU),
    "polar_template": lambda: PolarTemplates.tuned(GALLERY, pairs(), CPU),
    "untrained": lambda: NetworkEstimator(
        make_matcher(NETWORK, VARIANTS["corrected"], seed=0), GALLERY, CPU, "float32"
    ),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_noiseless_pattern_of_the_gallery_is_recognised_with_its_angle(name):
    angle = torch.tensor([20.0, 97.5, 181.0, 300.0])
    truth = rotation_about_z(torch.deg2rad(angle).double()) @ ROTATION[10:14]
    simulator = Simulator(crystal("polyethylene"), SYNTHESIZE.diffraction)
    counts = 1e4 * simulator.patterns(truth)
    gallery = Gallery.of(queries().gallery_rotation, queries().symmetry, CPU)
    best = best_orientations(ESTIMATORS[name]().curves(counts), gallery, 3)
    away_deg = misorientation_deg(best.rotation[:, :1].double().numpy(), truth.numpy(), SYMMETRY.numpy())
    # At a gallery of 120 directions another may look as alike.
    assert (away_deg < 3.5).sum() >= 3
    assert (best.score[:, :-1] >= best.score[:, 1:]).all()


class Flat(Encoder):
    """An encoder whose embedding is the pattern itself."""

    def forward(self, patterns):
        return torch.nn.functional.normalize(patterns.flatten(1), dim=1)


def test_the_published_estimator_tries_every_angle():
    for normalise in (False, True):
        estimator = NetworkEstimator(Matcher(Flat(), Flat()), GALLERY, CPU, "float32", normalise)
        query = rotated(GALLERY[30:33], torch.full((3,), 50.0))
        curves = estimator.curves(query)
        assert curves.shape == (3, len(GALLERY), 72)
        assert (curves[torch.arange(3), torch.arange(30, 33)].argmax(dim=1) == 10).all()
        assert float(curves.abs().max()) <= 1 + 1e-5
        # Normalised patterns do not change with a constant that is added
        assert bool((estimator.curves(query + 1) - curves).abs().max() < 1e-3) == normalise


def test_candidates_differ_and_the_in_plane_angle_is_interpolated():
    angles = 24
    gallery = Gallery.of(queries().gallery_rotation, queries().symmetry, CPU)
    true = 5.3
    bump = torch.cos(2 * torch.pi * (torch.arange(angles) - true) / angles)
    curves = torch.full((1, len(ROTATION), angles), -1.0) + 0.01 * torch.rand(1, len(ROTATION), 1, generator=seeded())
    curves[0, 40] = bump
    best = best_orientations(curves, gallery, 5)
    expected = rotation_about_z(torch.tensor([2 * torch.pi * true / angles], dtype=torch.float64)) @ ROTATION[40:41]
    rotation = best.rotation.double().numpy()
    assert misorientation_deg(rotation, expected.numpy(), SYMMETRY.numpy())[0, 0] < 0.3
    for first in range(4):
        others = rotation[:, first + 1 :]
        assert (misorientation_deg(others, rotation[:, first], SYMMETRY.numpy()) > APART_DEG - 0.01).all()


def test_every_query_has_its_predictions_whatever_the_batch():
    estimator = ESTIMATORS["polar_template"]()
    large, small = (
        predict_queries(estimator, queries(), SharedPredict(batch_size=size, candidates=15), CPU) for size in (50, 7)
    )
    assert large.rotation.shape == (len(queries()), 15, 3, 3)
    assert torch.allclose(small.score, large.score, atol=1e-5)
