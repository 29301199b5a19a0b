import math

import pytest
import torch

from workflow_scripts.optics.diffraction import far_field
from workflow_scripts.optics.probe import aberration_phase, make_probe, pixel_size_a, shift_probe
from workflow_scripts.optics.waves import wavelength_a

N = 32
IN_FOCUS = make_probe(N, 80, 31.5, 7.84)


def centre_of_mass(wave: torch.Tensor) -> list[float]:
    intensity, axis = wave.abs().square(), torch.arange(N, dtype=torch.float64)
    return [float((intensity.sum(dim=1 - d) * axis).sum() / intensity.sum()) for d in range(2)]


@pytest.mark.parametrize("aberrations", [{}, {"defocus_a": 80}, {"cs_mm": 0.01}, {"skirt_amplitude": 0.3}])
def test_is_normalised_centred_and_symmetric(aberrations):
    probe = make_probe(N, 80, 31.5, 7.84, **aberrations)
    assert probe.abs().square().sum() == pytest.approx(1)
    assert torch.allclose(probe, probe.T)
    inverted = torch.roll(probe.flip(0, 1), (1, 1), dims=(0, 1))  # the pixel n//2 stays in place
    assert torch.allclose(probe, inverted)
    # Row 0 has no partner on an even grid and holds next to nothing.
    assert centre_of_mass(probe) == pytest.approx([16, 16], abs=0.1)


def test_the_disc_has_the_radius_that_was_asked_for():
    disc = far_field(IN_FOCUS).abs()  # whose rim is linear in amplitude
    assert math.sqrt(disc.sum() / disc.max() / math.pi) == pytest.approx(7.84, rel=0.02)


def test_aberrations_change_phases_on_the_detector_alone():
    aberrated = make_probe(N, 80, 31.5, 7.84, defocus_a=100, cs_mm=0.02)
    assert torch.allclose(far_field(aberrated).abs(), far_field(IN_FOCUS).abs())
    assert aberrated.abs().max() < IN_FOCUS.abs().max()


def test_aberration_phase_has_its_closed_form():
    alpha, wavelength = torch.tensor([0.0, 0.02], dtype=torch.float64), wavelength_a(80)
    defocus = aberration_phase(alpha, 80, defocus_a=100, cs_mm=0)
    assert defocus[1] == pytest.approx(-math.pi * 100 * 0.02**2 / wavelength)
    spherical = aberration_phase(alpha, 80, defocus_a=0, cs_mm=1)
    assert spherical[1] == pytest.approx(math.pi / 2 * 1e7 * 0.02**4 / wavelength)
    assert defocus[0] == spherical[0] == 0


def test_pixel_size_is_the_reciprocal_of_the_detector():
    # The detector spans 32 · 31.5 / 7.84 mrad.
    assert pixel_size_a(N, 80, 31.5, 7.84) == pytest.approx(wavelength_a(80) / (32 * 31.5e-3 / 7.84))
    assert pixel_size_a(2 * N, 80, 31.5, 7.84) == pytest.approx(pixel_size_a(N, 80, 31.5, 7.84) / 2)


def test_the_skirt_lies_outside_the_disc_and_decays():
    spectrum = far_field(make_probe(N, 80, 31.5, 7.84, skirt_amplitude=0.3, skirt_decay_px=3.5)).abs()
    row = spectrum[16, 16:] / spectrum[16, 16]
    assert row[:8] == pytest.approx(torch.ones(8), abs=0.35)
    assert row[12] / row[10] == pytest.approx(math.exp(-2 / 3.5))


def test_shifting_moves_the_centre_of_mass():
    moved = shift_probe(IN_FOCUS, torch.tensor([0.5, -2.25], dtype=torch.float64))
    before, after = centre_of_mass(IN_FOCUS), centre_of_mass(moved)
    assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([0.5, -2.25], abs=0.1)


@pytest.mark.parametrize("wrong", [(0, 7.84), (31.5, 0), (31.5, 16), (31.5, float("nan"))])
def test_impossible_apertures_are_refused(wrong):
    semiangle_mrad, radius_px = wrong
    with pytest.raises(ValueError):
        make_probe(N, 80, semiangle_mrad, radius_px)
