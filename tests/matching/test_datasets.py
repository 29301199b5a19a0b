"""The arrays of the stage synthesize: kinds, doses, the margin between trained and tested directions, equal bytes."""

import numpy as np
import pytest
import torch

from tests.matching.crystals import crystal
from tests.matching.training import CPU, SYNTHESIZE, pair_arrays, pairs, queries
from workflow_scripts.matching.simulation import cells
from workflow_scripts.matching.simulation.cells import CAP_DEG, MARGIN_DEG, seen_rotations, unseen_rotations
from workflow_scripts.matching.simulation.datasets import make
from workflow_scripts.matching.simulation.orientations import nearest_direction
from workflow_scripts.matching.simulation.pattern_files import (
    DYNAMICAL,
    MAP,
    NOT_CRYSTAL,
    PLAIN,
    SEEN,
    TWO_CRYSTALS,
    UNSEEN,
    read_pairs,
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
        *((DYNAMICAL, UNSEEN, first, number), (TWO_CRYSTALS, UNSEEN, first, number)),
        *((NOT_CRYSTAL, UNSEEN, first, number), (MAP, UNSEEN, first, SYNTHESIZE.map_px**2)),
    ):
        chosen = (rows.kind == kind) & (rows.region == region) & (rows.dose_e == dose)
        assert chosen.sum() == count, kind
        total = rows.counts[chosen].sum(axis=(1, 2))
        assert total.mean() == pytest.approx(dose * (1 + SYNTHESIZE.background_share), rel=0.02), kind
    assert (np.abs(rows.second_rotation[rows.kind == TWO_CRYSTALS]).sum(axis=(1, 2)) > 0).all()
    assert not rows.second_rotation[rows.kind != TWO_CRYSTALS].any()


def test_the_same_seed_gives_the_same_arrays_and_another_others():
    again = make(SYNTHESIZE, "train", 0, CPU)
    assert all(np.array_equal(array, pair_arrays()[name]) for name, array in again.items())
    assert not np.array_equal(make(SYNTHESIZE, "train", 1, CPU)["rotation"], again["rotation"])


def test_files_are_read_back_and_damage_ends_in_a_sentence(tmp_path):
    good, test = tmp_path / "shard0.npz", tmp_path / "test.npz"
    write_arrays(good, pair_arrays())
    write_arrays(test, vars(queries()))
    assert len(read_pairs([good, good])) == 2 * len(pairs())
    assert len(read_queries(test)) == len(queries())
    damaged = tmp_path / "damaged.npz"
    for change, words in (
        ({"spots": np.full_like(pair_arrays()["spots"], np.nan)}, "spots"),
        ({"spots": pair_arrays()["spots"][0]}, "spots"),
        ({"rotation": pair_arrays()["rotation"].astype(int)}, "rotation"),
        ({"calculated": pair_arrays()["calculated"][:0]}, "calculated"),
    ):
        write_arrays(damaged, pair_arrays() | change)
        with pytest.raises(InputError, match=words):
            read_pairs([damaged])
    write_arrays(damaged, {"rotation": pair_arrays()["rotation"]})
    with pytest.raises(InputError, match="calculated"):
        read_pairs([damaged])
    damaged.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        read_pairs([damaged])
