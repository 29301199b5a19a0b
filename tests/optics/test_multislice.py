"""Multislice against vacuum propagation, weak objects and closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.optics.diffraction import far_field
from workflow_scripts.optics.multislice import BAND_LIMIT, in_band, multislice, propagate, transmission
from workflow_scripts.optics.waves import interaction_parameter, wavelength_a

PIXEL_A, KV = 0.1, 80.0
SHAPE = (24, 36)
seeds = st.integers(0, 2**31)
distances = st.floats(-200, 200)


def band(shape=SHAPE):
    y, x = (torch.fft.fftfreq(n, PIXEL_A, dtype=torch.float64) for n in shape)
    return in_band(y[:, None].square() + x.square(), PIXEL_A)


def band_limited_wave(seed, *batch):
    generator = torch.Generator().manual_seed(seed)
    return torch.fft.ifft2(torch.randn(*batch, *SHAPE, dtype=torch.complex128, generator=generator) * band())


def smooth_potential(seed, *batch):
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.randn(*batch, *SHAPE, dtype=torch.complex128, generator=generator) * band()
    return torch.fft.ifft2(spectrum).real * 100


def power(wave):
    return wave.abs().square().sum((-2, -1))


@given(seeds, distances)
@settings(deadline=None, max_examples=25)
def test_vacuum_keeps_every_electron_below_the_band_limit_and_can_be_undone(seed, distance):
    wave = band_limited_wave(seed, 2)
    later = propagate(wave, distance, PIXEL_A, KV)
    assert torch.allclose(power(later), power(wave))
    assert torch.allclose(propagate(later, -distance, PIXEL_A, KV), wave)


@given(seeds, distances)
@settings(deadline=None, max_examples=25)
def test_the_adjoint_of_propagation_goes_back(seed, distance):
    a, b = band_limited_wave(seed), band_limited_wave(seed + 1)
    left = torch.vdot(b.ravel(), propagate(a, distance, PIXEL_A, KV).ravel())
    assert torch.allclose(left, torch.vdot(propagate(b, -distance, PIXEL_A, KV).ravel(), a.ravel()))


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_slices_of_vacuum_are_vacuum(seed):
    wave = band_limited_wave(seed)
    nothing = transmission(torch.zeros(3, *SHAPE, dtype=torch.float64), PIXEL_A, KV)
    through = multislice(wave, list(nothing), [7.0, 13.0], PIXEL_A, KV)
    assert torch.allclose(through, propagate(wave, 20.0, PIXEL_A, KV))


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_the_detector_counts_the_electrons_of_the_exit_wave(seed):
    slices = transmission(smooth_potential(seed, 2), PIXEL_A, KV)
    wave = multislice(band_limited_wave(seed, 3), list(slices), [5.0], PIXEL_A, KV)
    assert torch.allclose(power(far_field(wave)), power(wave))


def test_beyond_the_band_limit_nothing_passes():
    wave = torch.fft.ifft2(torch.ones(SHAPE, dtype=torch.complex128))
    passed = torch.fft.fft2(propagate(wave, 10.0, PIXEL_A, KV)).abs()
    assert torch.allclose(passed, band().double())
    assert 0.3 < float(band().double().mean()) < math.pi / 4 * BAND_LIMIT**2 * 1.05


def test_a_plane_wave_turns_its_phase_as_its_angle_says():
    y, x = 3 / (SHAPE[0] * PIXEL_A), -5 / (SHAPE[1] * PIXEL_A)  # Å⁻¹
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) * PIXEL_A for n in SHAPE), indexing="ij")
    wave = torch.exp(2j * math.pi * (y * rows + x * columns))
    turned = torch.exp(torch.tensor(-1j * math.pi * wavelength_a(KV) * (y**2 + x**2) * 50.0))
    assert torch.allclose(propagate(wave, 50.0, PIXEL_A, KV), wave * turned)


def test_a_flat_potential_turns_the_phase_by_sigma_times_its_projection():
    slices = transmission(torch.full((2, *SHAPE), 300.0, dtype=torch.float64), PIXEL_A, KV)
    wave = band_limited_wave(0)
    through = multislice(wave, list(slices), [4.0], PIXEL_A, KV)
    turned = torch.exp(torch.tensor(600j * interaction_parameter(KV), dtype=torch.complex128))
    assert torch.allclose(through, propagate(wave, 4.0, PIXEL_A, KV) * turned)


@pytest.mark.parametrize("thickness_a", [0.0, 30.0])
def test_a_weak_object_scatters_in_first_order(thickness_a):
    """ψ = P(d) ψ₀ + iσ (P(d) V₁ + V₂ P(d)) ψ₀ inside the band; what is left falls with the square of V."""
    wave, potential = band_limited_wave(1), smooth_potential(2, 2)

    def vacuum(incident):
        return propagate(incident, thickness_a, PIXEL_A, KV)

    sigma = 1j * interaction_parameter(KV)
    left = []
    for weakness in (1e-3, 1e-4):
        first, second = weakness * potential
        exact = multislice(wave, list(transmission(weakness * potential, PIXEL_A, KV)), [thickness_a], PIXEL_A, KV)
        scattered = sigma * (vacuum(first * wave) + second * vacuum(wave))
        change = propagate(exact - vacuum(wave), 0.0, PIXEL_A, KV)
        linear = propagate(scattered, 0.0, PIXEL_A, KV)
        left.append(float((change - linear).norm() / linear.norm()))
    assert left[0] < 0.01
    assert left[1] == pytest.approx(left[0] / 10, rel=0.05)


def test_a_batch_is_its_waves_one_by_one():
    waves = band_limited_wave(4, 3)
    slices = list(transmission(smooth_potential(5, 2), PIXEL_A, KV))
    together = multislice(waves, slices, [3.0], PIXEL_A, KV)
    for wave, one in zip(waves, together, strict=True):
        assert torch.allclose(multislice(wave, slices, [3.0], PIXEL_A, KV), one)


def test_single_precision_stays_single_and_close():
    waves, slices = band_limited_wave(4), transmission(smooth_potential(5, 2), PIXEL_A, KV)
    single = multislice(waves.to(torch.complex64), list(slices.to(torch.complex64)), [3.0], PIXEL_A, KV)
    double = multislice(waves, list(slices), [3.0], PIXEL_A, KV)
    assert single.dtype == torch.complex64
    assert (single - double).abs().max() < 1e-5 * double.abs().max()


def test_the_potential_has_a_gradient():
    potential = smooth_potential(6, 2).requires_grad_()
    wave = band_limited_wave(7)

    def bright(values):
        exit_wave = multislice(wave, list(transmission(values, PIXEL_A, KV)), [8.0], PIXEL_A, KV)
        return power(exit_wave[:, :10])

    (gradient,) = torch.autograd.grad(bright(potential), potential)
    direction = smooth_potential(8, 2)
    with torch.no_grad():
        slope = (bright(potential + 1e-4 * direction) - bright(potential - 1e-4 * direction)) / 2e-4
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5)


def test_distances_lie_between_slices():
    slices = list(transmission(smooth_potential(0, 2), PIXEL_A, KV))
    with pytest.raises(ValueError, match="2 slices have 1 distances, not 2"):
        multislice(band_limited_wave(0), slices, [1.0, 1.0], PIXEL_A, KV)
