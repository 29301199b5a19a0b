"""The projected potential: its mean, its symmetry under shifts, slices, gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.optics.kirkland import scattering_factor_a
from workflow_scripts.optics.potential import VOLT_A2, projected_slices

SHAPE, PIXEL_A = (24, 30), 0.2
SYMBOLS = ["B", "N", "N", "Si"]
LIMIT = 2.0
ZERO = torch.zeros(1, dtype=torch.float64)


def atoms(seed):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(0, 1, (4, 3)) * [3.0, SHAPE[0] * PIXEL_A, SHAPE[1] * PIXEL_A])


def projected(positions, boundaries=(0.0, 3.0), limit=LIMIT, symbols=SYMBOLS):
    return projected_slices(symbols, positions, boundaries, SHAPE, PIXEL_A, limit)


def test_the_mean_is_that_of_the_forward_scattering():
    forward = sum(float(scattering_factor_a(symbol, ZERO)) for symbol in SYMBOLS)
    area = SHAPE[0] * SHAPE[1] * PIXEL_A**2
    assert float(projected(atoms(0)).mean()) == pytest.approx(VOLT_A2 * forward / area, rel=1e-10)


@given(st.integers(0, 100), st.integers(-40, 40), st.integers(-40, 40))
@settings(deadline=None, max_examples=20)
def test_atoms_that_move_by_whole_pixels_move_the_potential(seed, dy, dx):
    moved = projected(atoms(seed) + torch.tensor([0.0, dy * PIXEL_A, dx * PIXEL_A], dtype=torch.float64))
    rolled = torch.roll(projected(atoms(seed)), (dy, dx), dims=(1, 2))
    assert torch.allclose(moved, rolled, atol=1e-9 * float(rolled.max()))


@given(st.integers(0, 100), st.floats(-1, 1), st.floats(-1, 1))
@settings(deadline=None, max_examples=20)
def test_atoms_that_move_by_parts_of_pixels_turn_the_phases_of_its_spectrum(seed, dy, dx):
    step = torch.tensor([0.0, dy, dx], dtype=torch.float64) * PIXEL_A
    y, x = (torch.fft.fftfreq(side, dtype=torch.float64) for side in SHAPE)
    ramp = torch.exp(-2j * torch.pi * (dy * y[:, None] + dx * x))
    expected = torch.fft.ifft2(torch.fft.fft2(projected(atoms(seed))) * ramp).real
    assert torch.allclose(projected(atoms(seed) + step), expected, atol=1e-9 * float(expected.max()))


def test_the_slices_add_up_and_hold_the_atoms_whose_centres_they_hold():
    positions = atoms(1)
    slices = projected(positions, (0.0, 1.0, 2.0, 3.0))
    assert torch.allclose(slices.sum(0), projected(positions)[0])
    for index, layer in enumerate(slices):
        held = (positions[:, 0] >= index) & (positions[:, 0] < index + 1)
        symbols = [symbol for symbol, inside in zip(SYMBOLS, held.tolist(), strict=True) if inside]
        assert torch.allclose(layer, projected(positions[held], symbols=symbols)[0])


def test_an_atom_on_a_boundary_belongs_to_the_slice_above():
    slices = projected(torch.tensor([[1.0, 2.0, 2.0]], dtype=torch.float64), (0.0, 1.0, 2.0), symbols=["N"])
    assert slices[0].abs().max() == 0 and slices[1].max() > 100


def test_nothing_lies_beyond_the_limit():
    spectrum = torch.fft.fft2(projected(atoms(2)))[0].abs()
    squared = torch.fft.fftfreq(SHAPE[0], PIXEL_A)[:, None].square() + torch.fft.fftfreq(SHAPE[1], PIXEL_A).square()
    assert spectrum[squared >= LIMIT**2].max() < 1e-10 * spectrum.max()
    assert spectrum[squared < LIMIT**2].min() > 1e-6 * spectrum.max()


def test_forces_are_gradients():
    positions = atoms(3).requires_grad_()
    weights = torch.randn(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((projected(positions) * weights).sum(), positions)
    step = torch.zeros_like(positions)
    step[2, 1] = 1e-5
    with torch.no_grad():
        slope = ((projected(positions + step) - projected(positions - step)) * weights).sum() / 2e-5
    assert float(gradient[2, 1]) == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"limit": 2.6}, "limit_per_a"), ({"boundaries": (0.0, 1e-9)}, "outside"), ({"symbols": ["Q"] * 4}, "'Q'")],
)
def test_what_makes_no_sense_is_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        projected(atoms(0), **changed)
