"""The input of a network: independent of the order and the brightness of the tiles, for any number of tiles."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.background.networks.conditions import (
    CHANNELS,
    centred,
    conditions,
    published_conditions,
    stretched,
    without_level,
)

OWN, MEAN, MEDIAN, BRIGHTEST, DARKEST, DEAD = range(len(CHANNELS))


def tiles(number, seed=0, rows=2, side=8):
    return torch.randn(rows, number, side, side, generator=torch.Generator().manual_seed(seed))


def all_valid(logs):
    return torch.ones_like(logs, dtype=torch.bool)


@given(st.integers(2, 17), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_others_does_not_matter(number, seed):
    logs = tiles(number, seed)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(number - 1)])
    first, second = (conditions(part, all_valid(part))[0] for part in (logs, logs[:, order]))
    assert first.shape == (2, len(CHANNELS), 8, 8)
    torch.testing.assert_close(first, second)


def test_statistics_are_those_of_numpy():
    for number in (2, 5, 16):
        logs = tiles(number)
        channels = conditions(logs, all_valid(logs))[0]
        assert torch.equal(channels[:, OWN], logs[:, 0])
        torch.testing.assert_close(channels[:, MEAN], logs.mean(dim=1))
        torch.testing.assert_close(channels[:, MEDIAN], logs.sort(dim=1).values[:, number // 2])
        assert torch.equal(channels[:, BRIGHTEST], logs.amax(dim=1)) and torch.equal(
            channels[:, DARKEST], logs.amin(dim=1)
        )
        assert not channels[:, DEAD].any()


def test_tiles_given_twice_say_the_same_as_once():
    """Any number of copies leaves mean, median, brightest and darkest alone: N itself is no condition."""
    logs = tiles(2)
    twice = logs.repeat_interleave(3, dim=1)
    first, second = (conditions(part, all_valid(part))[0] for part in (logs, twice))
    torch.testing.assert_close(first, second)


def test_a_factor_of_a_tiles_brightness_is_gone():
    logs = tiles(3)
    brighter = logs + torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(*(without_level(part, all_valid(part)) for part in (logs, brighter)))
    torch.testing.assert_close(*(centred(part, all_valid(part)) for part in (logs, brighter)))
    assert centred(logs, all_valid(logs)).mean(dim=(-2, -1)).abs().max() < 1e-6


def test_the_value_of_a_dead_pixel_has_no_effect():
    logs = tiles(4)
    valid = all_valid(logs)
    valid[:, 0, 2, 3] = valid[:, :, 5, 5] = False
    wrong = torch.where(valid, logs, -40.0)
    channels, valid_pixels = conditions(without_level(wrong, valid), valid)
    other, _ = conditions(without_level(torch.where(valid, logs, 7.0), valid), valid)
    assert torch.equal(channels, other)
    assert channels.abs().max() < 6
    assert channels[:, DEAD, 2, 3].all() and channels[:, DEAD, 5, 5].all() and channels[:, DEAD].sum() == 4
    assert not channels[:, :DEAD, 5, 5].any()
    torch.testing.assert_close(channels[:, OWN, 2, 3], channels[:, MEAN, 2, 3])
    assert torch.equal(valid_pixels, valid[:, :1])


def test_a_tile_that_is_dead_everywhere_gives_numbers():
    logs, valid = tiles(2), torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    assert not without_level(logs, valid).isnan().any()
    assert torch.isfinite(conditions(logs, valid)[0]).all() and torch.isfinite(centred(logs, valid)).all()


def test_the_recipe_stretches_each_image_by_itself():
    pair = torch.rand(3, 2, 8, 8) + torch.tensor([0.0, 5.0]).view(1, 2, 1, 1)
    channels = published_conditions(pair)
    assert channels.amin(dim=(-2, -1)).eq(-1).all() and channels.amax(dim=(-2, -1)).eq(1).all()
    torch.testing.assert_close(published_conditions(3 * pair + 1), channels)  # the absolute signal is lost
    assert stretched(torch.full((1, 4, 4), 0.3)).eq(1).all()
