"""The arrays of the stage synthesize: kinds, doses, the margin between trained and tested directions, equal bytes."""

import numpy as np
import pytest
import torch

from tests.matching.crystals import crystal
from tests.matching.training import CPU, SYNTHESIZE, pair_arrays, pairs, queries
from workflow_scripts.matching.simulation import cells, observed
from workflow_scripts.matching.simulation.cells import CAP_DEG, MARGIN_DEG, seen_rotations, unseen_rotations
from workflow_scripts.matching.simulation.datasets import make
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.orientations import nearest_direction, random_rotations
from workflow_scripts.matching.simulation.pairs import pair_arrays as pair_arrays_of
from workflow_scripts.matching.simulation.pairs import read_pairs
from workflow_scripts.matching.simulation.pattern_files import (
    DAMAGED,
    DYNAMICAL,
    MAP,
    NOT_CRYSTAL,
    PLAIN,
    SEEN,
    TWO_CRYSTALS,
    UNSEEN,
    read_queries,
)
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

SYMMETRY = laue_rotations(crystal("polyethylene"))
MIDDLES = cells.tested_middles(SYNTHESIZE.cells, SYMMETRY)


def test_no_trained_direction_lies_within_the_margin_of_a_tested_one():
    rows = queries()
    tested = rows.rotation[(rows.region == UNSEEN) & (rows.kind != NOT_CRYSTAL) & (rows.kind != MAP)]
    away_deg, _, _ = nearest_direction(pair_arrays()["rotation"][:, 2], tested[:, 2], SYMMETRY.numpy())
    assert away_deg.min() > MARGIN_DEG
    from_middle_deg, _, _ = nearest_direction(tested[:, 2], MIDDLES.numpy(), SYMMETRY.numpy())
    assert from_middle_deg.max() <= CAP_DEG + 1e-6


def test_directions_are_uniform_in_the_caps_and_angles_in_the_plane():
    generator = torch.Generator().manual_seed(0)
    rotation = unseen_rotations(4000, MIDDLES, SYMMETRY, generator)
    away_deg, _, _ = nearest_direction(rotation[:, 2].numpy(), MIDDLES.numpy(), SYMMETRY.numpy())
    # Of a disc: half of the points lie within 1/√2 of its radius
    assert (away_deg < CAP_DEG / 2**0.5).mean() == pytest.approx(0.5, abs=0.03)
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).double().expand_as(rotation), atol=1e-9)


def test_caps_that_fill_the_zone_end_in_a_sentence():
    with pytest.raises(InputError, match=r"synthesize\.cells"):
        seen_rotations(10, cells.tested_middles(1000, SYMMETRY), SYMMETRY, torch.Generator().manual_seed(0))


def test_every_kind_has_its_queries_and_its_electrons():
    rows, number = queries(), SYNTHESIZE.queries
    first, second = SYNTHESIZE.dose_e
    for kind, region, dose, count in (
        *((PLAIN, UNSEEN, first, number), (PLAIN, UNSEEN, second, number), (PLAIN, SEEN, first, number)),
        *((DYNAMICAL, UNSEEN, first, number), (TWO_CRYSTALS, UNSEEN, first, number), (DAMAGED, UNSEEN, first, number)),
        *((NOT_CRYSTAL, UNSEEN, first, number), (MAP, UNSEEN, first, SYNTHESIZE.map_px**2)),
    ):
        chosen = (rows.kind == kind) & (rows.region == region) & (rows.dose_e == dose)
        assert chosen.sum() == count, kind
        total = rows.counts[chosen].sum(axis=(1, 2))
        amorphous = 3 if kind == DAMAGED else 1
        assert total.mean() == pytest.approx(dose * (1 + amorphous * SYNTHESIZE.background_share), rel=0.02), kind
        assert len(np.unique(rows.session[chosen])) == (1 if kind == MAP else SYNTHESIZE.sessions)
    assert (np.abs(rows.second_rotation[rows.kind == TWO_CRYSTALS]).sum(axis=(1, 2)) > 0).all()
    assert not rows.second_rotation[rows.kind != TWO_CRYSTALS].any()


def test_the_same_seed_gives_the_same_arrays_and_another_others():
    again = make(SYNTHESIZE, "train", 0, CPU)
    assert all(np.array_equal(array, pair_arrays()[name]) for name, array in again.items())
    assert not np.array_equal(make(SYNTHESIZE, "train", 1, CPU)["rotation"], again["rotation"])


def test_a_pair_is_rendered_as_the_simulation_makes_it_whatever_rows_are_beside_it(tmp_path):
    simulator = Simulator(crystal("polyethylene"), SYNTHESIZE.diffraction)
    generator = torch.Generator().manual_seed(0)
    rotation = random_rotations(150, generator)
    observation = observed.draw(SYNTHESIZE.observation, SYNTHESIZE.diffraction, 150, generator)
    calculated, expected = simulator.patterns(rotation), observed.expected(simulator, rotation, observation)
    path = tmp_path / "shard0.npz"
    write_arrays(path, pair_arrays_of(simulator, rotation, observation))
    assert path.stat().st_size < 150 * 5000
    stored = read_pairs([path, path])
    for rows in torch.randperm(300, generator=generator).split([1, 2, 31, 64, 202]):
        rendered, shares = stored.render(rows)
        assert torch.equal(rendered, calculated[rows % 150])
        assert torch.equal(shares.spots, expected.spots[rows % 150])
        assert torch.equal(shares.background, expected.background[rows % 150])


def test_files_are_read_back_and_damage_ends_in_a_sentence(tmp_path):
    good, test, damaged = tmp_path / "shard0.npz", tmp_path / "test.npz", tmp_path / "damaged.npz"
    arrays = pair_arrays()
    write_arrays(good, arrays)
    write_arrays(test, vars(queries()))
    assert len(read_pairs([good, good])) == 2 * len(pairs())
    assert len(read_queries(test)) == len(queries())
    spots, number, light = arrays["spots"], arrays["number"], arrays["diffraction"]
    for name, array, words in (
        ("spots", np.full_like(spots, np.nan), "finite"),
        ("spots", spots[0], "axes"),
        ("rotation", arrays["rotation"].astype(int), "int64"),
        ("spots", spots[:-1], "do not fit"),
        ("spots", spots[:, :2], "do not fit"),
        ("number", number[:-1], "do not fit"),
        ("number", number + 1, "do not fit"),
        ("places", arrays["places"] + 10**9, "do not fit"),
        ("recording", arrays["recording"][:, 1:], "do not fit"),
        ("diffraction", light[1:], "do not fit"),
        ("diffraction", light + 1, r"synthesize\.diffraction"),
    ):
        write_arrays(damaged, arrays | {name: array})
        with pytest.raises(InputError, match=f"damaged.*{words}"):
            read_pairs([good, damaged])
    write_arrays(damaged, arrays | {"diffraction": 1e6 * light})
    with pytest.raises(InputError, match=r"diffraction.*side_px"):
        read_pairs([damaged])
    write_arrays(damaged, {"rotation": arrays["rotation"]})
    with pytest.raises(InputError, match="spots"):
        read_pairs([damaged])
    damaged.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        read_pairs([damaged])
