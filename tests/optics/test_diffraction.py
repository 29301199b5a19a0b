import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.optics.diffraction import diffraction_pattern, far_field
from workflow_scripts.optics.probe import make_probe

PROBE = make_probe(32, 80, 31.5, 7.84, defocus_a=15)


def random_phase(seed: int, std_rad: float) -> torch.Tensor:
    return std_rad * torch.randn(32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 2**31), std_rad=st.floats(0, 3))
@settings(deadline=None, max_examples=20)
def test_a_pattern_sums_to_one_and_a_constant_phase_changes_nothing(seed, std_rad):
    phase = random_phase(seed, std_rad)
    pattern = diffraction_pattern(PROBE, phase)
    assert pattern.sum() == pytest.approx(1)
    assert torch.allclose(diffraction_pattern(PROBE, phase + 1.7), pattern)


def test_vacuum_shows_the_aperture():
    vacuum = diffraction_pattern(PROBE, torch.zeros(32, 32, dtype=torch.float64))
    assert torch.allclose(vacuum, far_field(PROBE).abs().square())


def test_a_phase_ramp_shifts_the_pattern():
    ramp = 2 * torch.pi * 3 / 32 * torch.arange(32, dtype=torch.float64)  # 3 detector pixels along x
    vacuum, tilted = (diffraction_pattern(PROBE, phase) for phase in (torch.zeros(32, 32), ramp.expand(32, 32)))
    assert torch.allclose(tilted, torch.roll(vacuum, 3, dims=1))


def test_a_weak_phase_acts_linearly():
    phase = random_phase(0, 1.0)
    vacuum = diffraction_pattern(PROBE, torch.zeros_like(phase))
    first_order = 2 * (far_field(PROBE).conj() * far_field(1j * phase * PROBE)).real
    errors = [
        (diffraction_pattern(PROBE, weak * phase) - vacuum - weak * first_order).abs().max() for weak in (1e-2, 1e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)  # what is left is of second order


def test_gradient_agrees_with_finite_differences():
    probe = make_probe(8, 80, 31.5, 2, defocus_a=15)
    phase = torch.randn(2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: diffraction_pattern(probe, p), phase)


def test_batch_equals_one_by_one():
    phases = torch.stack([random_phase(seed, 0.5) for seed in range(3)])
    together = diffraction_pattern(PROBE, phases)
    assert torch.allclose(together[2], diffraction_pattern(PROBE, phases[2]))
