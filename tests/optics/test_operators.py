"""Properties that every wave operator of ``optics`` holds."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.optics.diffraction import far_field, near_field
from workflow_scripts.optics.probe import shift_probe

SHIFT = torch.tensor([1.3, -2.7], dtype=torch.float64)
OPERATORS = {  # name: (operator, its adjoint); all are unitary
    "far_field": (far_field, near_field),
    "near_field": (near_field, far_field),
    "shift_probe": (lambda wave: shift_probe(wave, SHIFT), lambda wave: shift_probe(wave, -SHIFT)),
}
seeds = st.integers(0, 2**31)
sizes = st.sampled_from([8, 15, 32])


def random_wave(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, n, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", OPERATORS)
@given(n=sizes, seed=seeds)
@settings(deadline=None, max_examples=20)
def test_keeps_the_number_of_electrons(name, n, seed):
    wave = random_wave(n, seed)
    assert OPERATORS[name][0](wave).abs().square().sum() == pytest.approx(wave.abs().square().sum().item())


@pytest.mark.parametrize("name", OPERATORS)
@given(n=sizes, seed=seeds)
@settings(deadline=None, max_examples=20)
def test_adjoint(name, n, seed):
    forward, adjoint = OPERATORS[name]
    a, b = random_wave(n, seed), random_wave(n, seed + 1)
    left, right = torch.vdot(b.ravel(), forward(a).ravel()), torch.vdot(adjoint(b).ravel(), a.ravel())
    assert torch.allclose(left, right)


@pytest.mark.parametrize("name", OPERATORS)
@given(n=sizes, seed=seeds)
@settings(deadline=None, max_examples=20)
def test_adjoint_is_the_inverse(name, n, seed):
    forward, adjoint = OPERATORS[name]
    wave = random_wave(n, seed)
    assert torch.allclose(adjoint(forward(wave)), wave)


@given(n=sizes, dy=st.integers(-5, 5), dx=st.integers(-5, 5), seed=seeds)
@settings(deadline=None, max_examples=20)
def test_a_shift_is_a_phase_ramp_on_the_detector(n, dy, dx, seed):
    wave = random_wave(n, seed)
    rolled = torch.roll(wave, (dy, dx), dims=(0, 1))
    k = (torch.arange(n, dtype=torch.float64) - n // 2) / n
    ramp = torch.exp(-2j * math.pi * (dy * k[:, None] + dx * k[None, :]))
    assert torch.allclose(far_field(rolled), ramp * far_field(wave))
    assert torch.allclose(shift_probe(wave, torch.tensor([dy, dx], dtype=torch.float64)), rolled)


def test_a_plane_wave_is_one_pixel():
    pattern = far_field(torch.ones(8, 8, dtype=torch.complex128)).abs()
    assert pattern[4, 4] == pytest.approx(8) and pattern.sum() == pytest.approx(8)
