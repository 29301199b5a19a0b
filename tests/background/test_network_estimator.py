"""Networks as estimators: gauge, sets of tiles, tiles larger than those of the training, the recipe's sampler."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.background.toy import toy_session, toy_specimens, toy_tiles
from workflow_scripts.background.estimators.network import (
    NetworkEstimator,
    any_partner,
    binned,
    session_flats,
    smooth,
    spread_out,
)
from workflow_scripts.background.networks.diffusion import signal_shares
from workflow_scripts.background.settings import ARMS, SamplerSettings
from workflow_scripts.background.simulation.sessions import nearest_in_order

CPU = torch.device("cpu")


class NoOutput(nn.Module):
    """Zeros, so that the median of the set remains."""

    def forward(self, x, times):
        return torch.zeros_like(x[:, :1])


def estimator(network=None, arm="unet", side_px=32, **changes):
    settings = {"steps": 2, "samples": 3, "batch_size": 8, "seed": 0, "curve_steps": (1, 2), "curve_tiles": 1} | changes
    return NetworkEstimator(network or NoOutput(), ARMS[arm], side_px, SamplerSettings(**settings), CPU)


def estimate(estimator, logs):
    """Flat field and spread of the first tile of a single set (N, H, W) without dead pixels."""
    flats, spreads = estimator.estimate_sets(logs[None], np.ones((1, *logs.shape), bool))
    return flats[0], spreads[0]


def test_an_unsorted_partner_is_another_tile_and_seldom_a_neighbour():
    pair = any_partner(16, 0)
    assert (pair[:, 0] == np.arange(16)).all() and (pair[:, 1] != pair[:, 0]).all()
    assert (abs(pair[:, 1] - pair[:, 0]) > 2).mean() > 0.5


@pytest.mark.parametrize("arm", ["unet", "corrected", "published"])
@pytest.mark.parametrize("shape", [(2, 32, 32), (3, 20, 33), (2, 70, 45)])
def test_any_number_of_tiles_and_any_size(arm, shape):
    logs = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    flat, spread = estimate(estimator(arm=arm), logs)
    assert flat.shape == spread.shape == shape[1:]
    assert np.isfinite(flat).all() and (spread >= 0).all()
    again = estimate(estimator(arm=arm), logs)
    assert np.array_equal(flat, again[0])


def test_the_brightness_of_the_tiles_does_not_matter():
    tiles = toy_tiles(sessions=1)
    logs = (tiles.log_flat + tiles.log_transmission)[0, :3]
    flat, brighter = (estimate(estimator(), part)[0] for part in (logs, logs + np.float32([[[1]], [[-2]], [[0.5]]])))
    assert abs(flat - brighter).max() < 1e-5
    assert abs(flat.mean()) < 1e-5


def test_an_absent_flat_field_is_left_alone():
    """Two tiles without specimen and without flat field give zeros, whatever the size."""
    for side in (32, 96):
        flat, _ = estimate(estimator(), np.full((2, side, side), 4.2, np.float32))
        assert abs(flat).max() < 1e-5


def test_the_spread_is_that_of_the_samples():
    logs = np.zeros((2, 32, 32), np.float32)
    spread = estimate(estimator(arm="corrected", samples=64, steps=1, batch_size=64), logs)[1]
    # A network whose velocity is 0 returns √ᾱ of the noise that it began with: nothing, from pure noise
    assert 0 < spread.mean() < 1e-3
    assert not estimate(estimator(arm="unet"), logs)[1].any()


def test_samples_do_not_depend_on_the_number_of_images_at_once():
    logs = np.random.default_rng(0).normal(0, 0.1, (5, 2, 32, 32)).astype(np.float32)
    valid = np.ones(logs.shape, bool)
    torch.manual_seed(0)
    network = nn.Conv2d(7, 1, 3, padding=1)
    network.forward = lambda x, times, inner=network.forward: inner(x)
    flat = [estimator(network, "corrected", batch_size=n).estimate_sets(logs, valid)[0] for n in (1, 6, 64)]
    assert abs(flat[0] - flat[1]).max() < 1e-5 and abs(flat[0] - flat[2]).max() < 1e-5


def test_whole_sessions_are_estimated_tile_by_tile():
    tiles = toy_tiles()
    near = nearest_in_order(16, 4)
    flats, spreads = session_flats(estimator(), tiles, near)
    assert flats.shape == spreads.shape == tiles.counts.shape
    some, _ = session_flats(estimator(), tiles, near[[3, 9]])
    assert np.array_equal(some, flats[:, [3, 9]])
    error = flats - tiles.log_flat
    assert error.std(axis=(-2, -1)).mean() < 0.7 * tiles.log_transmission.std(axis=(-2, -1)).mean()


def test_the_flat_field_of_the_recipe_has_its_mean():
    logs = np.log(np.random.default_rng(0).uniform(0.5, 1, (2, 32, 32))).astype(np.float32)

    class Perfect(nn.Module):
        """The noise of an image that is 0.2 everywhere in the network's units."""

        def forward(self, x, times):
            share = signal_shares()[times].view(-1, 1, 1, 1).float()
            return (x[:, :1] - share.sqrt() * 0.2) / (1 - share).sqrt()

    flat, spread = estimate(estimator(Perfect(), arm="published"), logs)
    assert np.exp(flat).mean() == pytest.approx(0.7, abs=0.02) and not spread.any()


class TrainedOnWindows(nn.Module):
    """Knows only the part of the truth that is shorter than 32 px, as a network trained on windows of 32 px would.

    The flat field is in the brightest tile; anything longer than a window the network cannot tell from a specimen.
    """

    def forward(self, x, times):
        brightest, median = x[:, 4:5], x[:, 3:4]
        visible = brightest - smooth(brightest, 64) if max(x.shape[-2:]) > 32 else brightest
        return (visible - median) / 0.05


def test_two_passes_are_better_than_either_alone():
    """A long and a short wave on 256²: the coarse pass knows the long one, the fine pass the short one."""
    y, x = np.mgrid[:256, :256]
    truth = 0.3 * np.cos(2 * np.pi * y / 256) + 0.1 * np.cos(2 * np.pi * (x + y) / 12)
    logs = np.stack([truth, truth]).astype(np.float32)
    both = estimator(TrainedOnWindows())
    errors = {}
    for name, bins in {"both": [8, 1], "coarse": [8], "fine": [1]}.items():
        both._bins = lambda height, width, bins=bins: bins
        errors[name] = float((estimate(both, logs)[0] - truth).std())
    assert errors["both"] < 0.3 * min(errors["coarse"], errors["fine"])


def test_bins_ignore_dead_pixels_and_are_interpolated_smoothly():
    y, x = np.mgrid[:50, :40]
    image = torch.as_tensor(np.cos(2 * np.pi * y / 100) + 0.01 * x).float()[None, None]
    valid = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) > 0.2
    valid[..., 8:12, 8:12] = False
    small, with_light = binned(torch.where(valid, image, -99.0), valid, 4)
    assert small.shape == (1, 1, 13, 10) and not with_light[0, 0, 2, 2] and with_light.sum() == 129
    whole, _ = binned(image, torch.ones_like(valid), 4)
    assert float((small - whole)[with_light].abs().max()) < 0.1
    inner = (spread_out(whole, 4, 50, 40) - image)[..., 4:-4, 4:-4]
    assert float(inner.abs().max()) < 0.02
    assert smooth(torch.full((1, 1, 9, 20), 2.0), 64).sub(2).abs().max() < 1e-5


def test_specimens_of_the_toy_absorb():
    rng = np.random.default_rng(0)
    assert toy_specimens(rng, 4, 32).min() < -0.1 and toy_session(rng, 3, 32).shape == (3, 32, 32)
