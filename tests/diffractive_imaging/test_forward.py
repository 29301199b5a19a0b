import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.optics.probe import make_probe

N = 32
PROBE = make_probe(N, 80, 31.5, 7.84, cs_mm=0.0025, skirt_amplitude=0.3, skirt_decay_px=3.5)
seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_default_probe_illuminates_three_by_three_pixels_with_three_quarters_of_the_dose():
    intensity = PROBE.abs().square()
    bright = intensity > forward.MASK_THRESHOLD * intensity.max()
    assert bright.sum() == 9
    assert intensity[bright].sum() == pytest.approx(0.74, abs=0.01)
    fine = forward.patch_mask(PROBE)
    assert 0.9 * 144 < fine.sum() < 1.1 * 144
    assert fine[N // 2, N // 2]


@given(fraction=st.floats(0, 1, exclude_max=True), a=st.floats(-2, 2), b=st.floats(-2, 2), c=st.floats(-2, 2))
@settings(deadline=None)
def test_cubic_convolution_is_exact_for_quadratics(fraction, a, b, c):
    nodes = torch.arange(-1, 3, dtype=torch.float64)
    weights = forward.cubic_weights(torch.tensor(fraction, dtype=torch.float64))
    interpolated = float(weights @ (a + b * nodes + c * nodes**2))
    assert interpolated == pytest.approx(a + b * fraction + c * fraction**2, abs=1e-9)


@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_a_patch_holds_the_object_pixels_at_every_fourth_place(seed):
    phase = normal(seed, 2, N, N)
    patch = forward.true_patch(phase)
    assert torch.allclose(patch[:, ::4, ::4], phase[:, 12:20, 12:20])
    assert torch.allclose(
        forward.cubic_matrix(forward.patch_offsets_px(N) + N // 2, N).sum(dim=1), torch.ones(N, dtype=torch.float64)
    )


@given(seed=seeds, constant=st.floats(-9, 9))
@settings(deadline=None, max_examples=10)
def test_the_mean_over_the_mask_goes_and_nothing_else(seed, constant):
    mask, patches = forward.patch_mask(PROBE), normal(seed, 3, N, N)
    free = forward.remove_mask_mean(patches, mask)
    assert torch.allclose(free[:, mask].mean(dim=1), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert (free[:, ~mask] == 0).all()
    assert torch.allclose(forward.remove_mask_mean(patches + constant, mask), free)


@pytest.mark.parametrize("dose_e", [279.0, 27882.0])
def test_the_input_of_a_network_does_not_grow_with_the_dose_unless_published(dose_e):
    counts = forward.measure(PROBE, 0.5 * normal(0, 200, N, N), dose_e, torch.Generator().manual_seed(0))
    assert forward.network_input(counts, dose_e).square().mean() == pytest.approx(1, rel=0.01)
    assert forward.network_input(counts, None).square().sum(dim=(1, 2)).mean() == pytest.approx(dose_e, rel=0.01)


@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_a_window_at_whole_fine_pixels_is_a_slice(seed):
    fine = normal(seed, 200, 220)
    positions = torch.tensor([[25.0, 30.25]], dtype=torch.float64)
    coarse = forward.window_at(fine, positions, N, forward.UPSAMPLING)[0]
    assert torch.allclose(coarse, fine[36:164:4, 57:185:4])
    patch = forward.window_at(fine, positions, N, 1)[0]
    assert torch.allclose(patch, fine[84:116, 105:137])


def test_windows_between_fine_pixels_follow_a_smooth_object():
    y, x = np.mgrid[:240, :240] / 4.0
    fine = torch.from_numpy(np.sin(y * 0.9) * np.cos(x * 0.7))
    positions = torch.tensor([[30.111, 28.53], [27.9, 31.27]], dtype=torch.float64)
    windows = forward.window_at(fine, positions, N, forward.UPSAMPLING)
    offset = np.arange(N) - N // 2
    for window, (py, px) in zip(windows.numpy(), positions.numpy(), strict=True):
        expected = np.sin((py + offset)[:, None] * 0.9) * np.cos((px + offset)[None, :] * 0.7)
        np.testing.assert_allclose(window, expected, atol=1e-3)


@pytest.mark.parametrize("position", [[10.0, 30.0], [30.0, 45.0], [30.0, -3.0]])
def test_a_window_that_leaves_the_object_is_refused(position):
    with pytest.raises(ValueError, match="border"):
        forward.window_at(torch.zeros(240, 240), torch.tensor([position]), N, forward.UPSAMPLING)


def test_a_scan_of_one_position_is_the_pattern_of_its_window():
    fine = 0.5 * normal(1, 240, 240)
    positions = torch.tensor([[30.2, 28.7]], dtype=torch.float64).expand(300, 2)
    counts = forward.simulate_scan(PROBE, fine, positions, 1e4, torch.Generator().manual_seed(0))
    expected = forward.diffraction_pattern(PROBE, forward.window_at(fine, positions[:1], N, 4)[0])
    assert counts.shape == (300, N, N)
    chi2 = ((counts.mean(dim=0) - 1e4 * expected) ** 2 / (1e4 * expected / 300)).mean()
    assert chi2 == pytest.approx(1, abs=0.2)
