"""Misorientations against scipy and closed forms, chance against draws, ranks, curves."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.matching.toy_predictions import directed
from workflow_scripts.matching.evaluation import metrics
from workflow_scripts.matching.simulation.orientations import nearest_direction

GROUPS = ("C1", "C2", "D2", "D3", "D4", "D6", "T", "O")


def group(name):
    return Rotation.create_group(name).as_matrix()


def random(n, seed=0):
    return Rotation.random(n, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("name", GROUPS)
def test_the_misorientation_is_that_of_scipys_reduced_rotation(name):
    symmetry = Rotation.create_group(name)
    predicted, true = random(50), random(50, 1)
    # The rotation from one crystal to the other, reduced by the group on either side
    expected = np.degrees((true.inv() * predicted).reduce(left=symmetry, right=None).magnitude())
    angle_deg = metrics.misorientation_deg(predicted.as_matrix()[:, None], true.as_matrix(), symmetry.as_matrix())
    assert angle_deg[:, 0] == pytest.approx(expected, abs=1e-6)
    # Control: without the symmetry it is larger, except for C1
    bare = metrics.misorientation_deg(predicted.as_matrix()[:, None], true.as_matrix(), group("C1"))
    assert np.allclose(bare, angle_deg) == (name == "C1")


@pytest.mark.parametrize("angle_deg", [0.0, 1e-5, 0.3, 3.0, 44.0])
def test_a_known_turn_is_found_whatever_the_equivalent(angle_deg):
    true = random(1).as_matrix()
    small = Rotation.from_rotvec([0, np.radians(angle_deg), 0]).as_matrix()
    for operation in group("O"):
        angle_deg = metrics.misorientation_deg((small @ true @ operation)[:, None], true, group("O"))
        assert angle_deg.item() == pytest.approx(angle_deg, abs=1e-6)


def test_no_orientation_is_further_than_the_cube_allows():
    angle_deg = metrics.misorientation_deg(random(2000).as_matrix()[:, None], random(2000, 1).as_matrix(), group("O"))
    assert 60 < angle_deg.max() < 62.8  # Mackenzie, doi:10.1093/biomet/45.1-2.229


def test_half_turns_stay_apart_unless_they_are_asked_for():
    true = random(20).as_matrix()
    turned = metrics.HALF_TURN @ true
    assert metrics.misorientation_deg(turned[:, None], true, group("C1")) == pytest.approx(np.full((20, 1), 180))
    assert (metrics.HALF_TURN @ turned) == pytest.approx(true)


@pytest.mark.parametrize("name", GROUPS)
def test_chance_is_the_share_of_random_orientations(name):
    true, predicted = random(40_000).as_matrix(), random(40_000, 1).as_matrix()
    near = metrics.misorientation_deg(predicted[:, None], true, group(name)) <= 12
    expected = metrics.chance_percent(12.0, len(group(name)))
    assert 100 * near.mean() == pytest.approx(expected, rel=0.3, abs=0.02)
    assert metrics.chance_percent(12.0, len(group(name)), 5) == pytest.approx(5 * expected, rel=0.2)


def test_of_184_random_orientations_the_pairs_within_10_degrees_are_those_that_the_study_names():
    pairs = 184 * 183 / 2
    assert pairs * metrics.chance_percent(10.0, 4) / 100 == pytest.approx(19, abs=0.5)
    # Where a half turn in the plane counts too, as in a pattern that obeys Friedel's law
    assert pairs * metrics.chance_percent(10.0, 8) / 100 == pytest.approx(38, abs=0.5)


def test_the_floor_is_the_misorientation_after_the_best_turn_in_the_plane():
    symmetry = group("D2")
    gallery = directed(random(40).as_matrix()[:, 2])
    true = random(12, 1).as_matrix()
    floor, row, operation = nearest_direction(true[:, 2], gallery[:, 2], symmetry)
    turns = Rotation.from_rotvec(np.radians(np.arange(0, 360, 0.25))[:, None] * [0, 0, 1]).as_matrix()
    for query in range(12):
        candidates = (turns[:, None] @ gallery[None]).reshape(1, -1, 3, 3)
        best = metrics.misorientation_deg(candidates, true[query : query + 1], symmetry).min()
        assert best == pytest.approx(floor[query], abs=0.02)
        nearest = turns @ gallery[row[query]] @ symmetry[operation[query]]
        alone = metrics.misorientation_deg(nearest[None], true[query : query + 1], np.eye(3)[None]).min()
        assert alone == pytest.approx(best, abs=1e-6)


def predictions(*angles_deg):
    """Predictions (1, 15, 3, 3) at these angles from the identity, then others at 80°."""
    angles = [*angles_deg, *[80.0] * (15 - len(angles_deg))]
    return Rotation.from_rotvec(np.radians(angles)[:, None] * [1, 0, 0]).as_matrix()[None]


@pytest.mark.parametrize(
    ("angles", "tops", "mrr"),
    [
        ((1.0,), (100, 100, 100, 100), 1.0),
        ((9.0, 2.9), (0, 100, 100, 100), 1 / 2),
        ((9.0,) * 5 + (3.1, 1.0), (0, 0, 100, 100), 1 / 7),
        ((9.0,) * 14 + (1.0,), (0, 0, 0, 100), 1 / 15),
        ((9.0,), (0, 0, 0, 0), 0.0),
    ],
)
def test_rank_of_the_first_correct_prediction(angles, tops, mrr):
    identity = np.eye(3)[None]
    by_query = metrics.by_rank(predictions(*angles), identity, identity, np.array([False]), identity, 3.0)
    assert tuple(by_query[name].item() for name in metrics.BY_CLASS.values()) == tops
    assert by_query[metrics.MRR].item() == pytest.approx(mrr)
    assert by_query[metrics.DEG].item() == pytest.approx(angles[0])


def test_of_two_crystals_either_is_correct_and_both_are_counted():
    identity = np.eye(3)[None]
    second = Rotation.from_rotvec(np.radians([[40.0, 0, 0]])).as_matrix()
    arguments = identity, second, np.array([True]), identity, 3.0
    by_query = metrics.by_rank(predictions(41.0, 70.0, 1.0), *arguments)
    assert by_query[metrics.BY_CLASS[1]].item() == 100
    assert by_query[metrics.DEG].item() == pytest.approx(1.0)
    assert by_query[metrics.CRYSTALS].item() == 100
    assert metrics.by_rank(predictions(41.0), *arguments)[metrics.CRYSTALS].item() == 50
    # Of a pattern of one crystal the second orientation means nothing
    alone = metrics.by_rank(predictions(41.0), identity, second, np.array([False]), identity, 3.0)
    assert alone[metrics.BY_CLASS[1]].item() == alone[metrics.CRYSTALS].item() == 0


def test_the_curve_integrates_to_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    of_crystal = rng.uniform(size=4000) < 0.5
    score = rng.standard_normal(4000) + of_crystal
    false_share = np.linspace(0, 1, 501)
    curve = metrics.roc(score, of_crystal, false_share)
    assert (np.diff(curve) >= 0).all()
    area = np.sum((curve[1:] + curve[:-1]) / 2) / 500
    share = (score[of_crystal][:, None] > score[~of_crystal]).mean()
    assert area == pytest.approx(share, abs=2e-3)
