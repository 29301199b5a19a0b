"""The diffusion in closed form, its single steps by hand and by MONAI, and its sampler where the result is known."""

from itertools import pairwise

import pytest
import torch

from workflow_scripts.background.networks.diffusion import (
    TIMES,
    ddim_step,
    noised,
    sample,
    signal_shares,
    target,
    times_from_noise,
    times_of_the_recipe,
)


def test_q_of_a_noisy_image_has_its_closed_form():
    """One step at a time, x_t = √(1 - β) x + √β ε, gives the mean and the variance that `noised` takes at once."""
    generator = torch.Generator().manual_seed(0)
    beta = torch.linspace(1e-4, 2e-2, TIMES, dtype=torch.float64)
    stepped = torch.full((20000,), 1.5, dtype=torch.float64)
    at_once = torch.full((20000, 1, 1, 1), 1.5, dtype=torch.float64)
    for time in range(400):
        noise = torch.randn(20000, generator=generator, dtype=torch.float64)
        stepped = (1 - beta[time]).sqrt() * stepped + beta[time].sqrt() * noise
        if time in (0, 99, 399):
            noise = torch.randn(at_once.shape, generator=generator, dtype=torch.float64)
            x = noised(at_once, noise, torch.full((20000,), time))
            share = float(signal_shares()[time])
            for samples in (stepped, x):
                assert float(samples.mean()) == pytest.approx(1.5 * share**0.5, abs=0.02)
                assert float(samples.var()) == pytest.approx(1 - share, rel=0.05)


def test_the_signal_falls_from_all_to_nothing():
    shares = signal_shares()
    assert shares[0] == pytest.approx(1 - 1e-4, abs=1e-12)
    assert (shares.diff() < 0).all()
    assert shares[-1] < 1e-4


def test_a_step_by_hand():
    """ᾱ_t = 0.25, ᾱ_s = 0.64, x_t = 0.5 · 2 + √0.75 · 1: numbers small enough for a pocket calculator."""
    x = torch.tensor([0.5 * 2 + 0.75**0.5])
    noise_output, velocity_output = torch.tensor([1.0]), torch.tensor([0.5 * 1 - 0.75**0.5 * 2])
    for kind, output in (("noise", noise_output), ("velocity", velocity_output)):
        assert float(ddim_step(x, output, 0.25, 0.64, kind, 0.0, None)) == pytest.approx(0.8 * 2 + 0.6 * 1, abs=1e-6)
        assert float(ddim_step(x, output, 0.25, 1.0, kind, 0.0, None)) == pytest.approx(2.0, abs=1e-6)
    # σ² = (1 - 0.64) / (1 - 0.25) · (1 - 0.25 / 0.64) = 0.2925
    expected = 0.8 * 2 + (0.36 - 0.2925) ** 0.5 * 1 + 0.2925**0.5 * 3
    stepped = ddim_step(x, noise_output, 0.25, 0.64, "noise", 1.0, torch.tensor([3.0]))
    assert float(stepped) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("prediction_type", "kind"), [("noise", "epsilon"), ("velocity", "v_prediction")])
def test_steps_agree_with_monai(prediction_type, kind):
    schedulers = pytest.importorskip("monai.networks.schedulers")
    scheduler = schedulers.DDIMScheduler(TIMES, clip_sample=False, prediction_type=kind)
    scheduler.set_timesteps(10)
    generator = torch.Generator().manual_seed(0)
    x, output = torch.randn(2, 3, 1, 4, 4, generator=generator)
    shares = signal_shares().tolist()
    for time in (999, 555, 100, 0):
        after = 1.0 if time < 100 else shares[time - 100]
        expected, _ = scheduler.step(output, time, x)
        torch.testing.assert_close(
            ddim_step(x, output, shares[time], after, prediction_type, 0.0, None), expected, atol=2e-5, rtol=1e-4
        )


@pytest.mark.parametrize("prediction_type", ["noise", "velocity"])
def test_a_network_that_knows_the_truth_returns_it_in_any_number_of_steps(prediction_type):
    truth = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def oracle(x, times):
        signal = signal_shares()[times].sqrt().view(-1, 1, 1, 1)
        noise = (x - signal * truth) / (1 - signal**2).sqrt()
        return target(truth, noise, times, prediction_type)

    x = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for steps in (1, 2, 5, 50):
        torch.testing.assert_close(sample(oracle, x, times_from_noise(steps), prediction_type, 0.0, None), truth)


def gaussian(mean, std, prediction_type):
    """The perfect network of pixels that are independent normal numbers."""

    def network(x, times):
        share = signal_shares()[times].view(-1, 1, 1, 1)
        image = mean + share.sqrt() * std**2 / (share * std**2 + 1 - share) * (x - share.sqrt() * mean)
        return target(image, (x - share.sqrt() * image) / (1 - share).sqrt(), times, prediction_type)

    return network


@pytest.mark.parametrize(
    ("times", "eta", "prediction_type"),
    [(times_from_noise(100), 0.0, "velocity"), (times_of_the_recipe(250), 1.0, "noise")],
)
def test_a_known_distribution_is_sampled_with_its_mean_and_its_variance(times, eta, prediction_type):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, 1, 64, 64, generator=generator, dtype=torch.float64)
    samples = sample(gaussian(0.7, 0.4, prediction_type), x, times, prediction_type, eta, generator)
    assert float(samples.mean()) == pytest.approx(0.7, abs=0.02)
    assert float(samples.std()) == pytest.approx(0.4, rel=0.06)


def test_one_step_gives_the_mean_and_more_steps_the_whole_distribution():
    x = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    stds = []
    for steps in (1, 2, 5, 20):
        samples = sample(gaussian(0.7, 0.4, "velocity"), x, times_from_noise(steps), "velocity", 0.0, None)
        assert float(samples.mean()) == pytest.approx(0.7, abs=0.03)
        stds.append(float(samples.std()))
    assert stds == sorted(stds) and stds[0] < 0.01 and stds[-1] > 0.3


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 50, 1000])
def test_times_fall_from_noise_to_the_image(steps):
    times = times_from_noise(steps)
    assert len(times) == steps and times[0] == TIMES - 1
    assert all(a > b for a, b in pairwise(times)) and times[-1] >= 0
    recipe = times_of_the_recipe(steps)
    assert len(recipe) == steps and recipe[-1] == 0 and recipe[0] < TIMES
