import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.diffractive_imaging.simulation import objects
from workflow_scripts.workflow.errors import InputError

N = 32
PHOTOGRAPHS = {f"{k}.png": np.random.default_rng(k).random((80 + 30 * k, 120)).astype(np.float32) for k in range(3)}
MAKERS = {
    "photograph_crops": lambda count, rng: objects.photograph_crops(PHOTOGRAPHS, count, N, rng)[0],
    "power_law_noise": lambda count, rng: objects.power_law_noise(count, N, rng),
    "dead_leaves": lambda count, rng: objects.dead_leaves(count, N, rng),
}


@pytest.mark.parametrize("name", MAKERS)
@given(count=st.integers(1, 7), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=3)
def test_every_object_is_standardised_and_repeatable(name, count, seed):
    images, repeated = (MAKERS[name](count, np.random.default_rng(seed)) for _ in range(2))
    assert images.shape == (count, N, N) and images.dtype == np.float32
    np.testing.assert_allclose(images.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(images.std(axis=(1, 2)), 1, rtol=1e-4)
    np.testing.assert_array_equal(images, repeated)


def test_photographs_take_turns():
    _, origin = objects.photograph_crops(PHOTOGRAPHS, 7, N, np.random.default_rng(0))
    np.testing.assert_array_equal(origin, [0, 1, 2, 0, 1, 2, 0])


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_spectrum_follows_its_law(exponent):
    noise = objects.power_law_noise(500, N, np.random.default_rng(0), exponent)
    amplitude = np.sqrt((np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0))
    assert amplitude[0, 2] / amplitude[0, 8] == pytest.approx(4**exponent, rel=0.1)


def test_a_flat_photograph_is_refused():
    with pytest.raises(InputError, match=r"flat\.png: so flat that 100 random crops show nothing"):
        objects.photograph_crops({"flat.png": np.ones((80, 80))}, 1, N, np.random.default_rng(0))


def test_a_photograph_with_a_flat_central_square_is_refused():
    panorama = np.zeros((80, 240))
    panorama[:, :20] = 1
    with pytest.raises(InputError, match=r"wall\.png: the same value in every pixel of its central square"):
        objects.large_photograph("wall.png", panorama, N)


def test_a_ramp_is_cropped_as_a_ramp():
    ramp = np.broadcast_to(np.arange(200.0), (200, 200))
    crop = objects.photograph_crops({"ramp.png": ramp}, 1, N, np.random.default_rng(3))[0][0]
    second_difference = np.diff(crop, n=2, axis=0)
    np.testing.assert_allclose(second_difference, 0, atol=1e-4)


def test_step_edge_has_two_levels_and_a_straight_edge():
    edge = objects.step_edge(96)
    assert np.mean(np.abs(np.abs(edge) - 1) < 0.05) > 0.97
    columns_above = (edge > 0).sum(axis=1)  # each row further down has the edge further left
    slope = np.polyfit(np.arange(96), columns_above, 1)[0]
    assert slope == pytest.approx(np.tan(np.deg2rad(10)), rel=0.02)


@pytest.mark.parametrize("size", [40, 200])
def test_large_photograph_keeps_its_picture(size):
    y, x = np.mgrid[:100, :130]
    picture = objects.large_photograph("waves.png", np.sin(x / 20) + np.cos(y / 15), size)
    assert picture.shape == (size, size)
    position = (np.arange(size) + 0.5) * 100 / size - 0.5
    expected = np.sin((position[None, :] + 15) / 20) + np.cos(position[:, None] / 15)
    assert np.corrcoef(picture.ravel(), expected.ravel())[0, 1] > 0.999


def test_refining_keeps_the_pixels_and_follows_a_smooth_object_between_them():
    y, x = np.mgrid[:40, :50]
    fine = objects.refine(np.sin(y * 0.8) * np.cos(x * 0.5), 4)
    assert fine.shape == (160, 200)
    np.testing.assert_allclose(fine[::4, ::4], np.sin(y * 0.8) * np.cos(x * 0.5), atol=1e-6)
    y, x = np.mgrid[:160, :200] / 4
    inside = np.s_[20:-20, 20:-20]
    np.testing.assert_allclose(fine[inside], (np.sin(y * 0.8) * np.cos(x * 0.5))[inside], atol=5e-3)
