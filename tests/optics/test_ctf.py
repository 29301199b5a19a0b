import math

import pytest
import torch

from workflow_scripts.optics.ctf import ctf, ctf_at
from workflow_scripts.optics.waves import wavelength_a

TITAN = {"voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.07}
PHASE_ONLY = {"voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.0}


def along_x(frequency, defocus_a, **parameters):
    frequency = torch.as_tensor(frequency, dtype=torch.float64)
    return ctf_at(frequency, torch.zeros_like(frequency), defocus_a, **parameters)[0]


@pytest.mark.parametrize("contrast", [0.0, 0.07, 0.2])
@pytest.mark.parametrize("defocus_a", [5_000.0, 20_000.0])
def test_zeros_lie_where_the_closed_form_has_them(contrast, defocus_a):
    """χ = mπ is a quadratic equation for k²; its smaller root is the m-th zero."""
    wavelength, cs_a = wavelength_a(300), 2.7e7
    order = torch.arange(1, 6, dtype=torch.float64)
    rest = order * math.pi - math.asin(contrast)
    root = torch.sqrt(defocus_a**2 - 2 * cs_a * wavelength * rest / math.pi)
    zeros = torch.sqrt((defocus_a - root) / (cs_a * wavelength**2))
    parameters = {"voltage_kv": 300.0, "cs_mm": 2.7, "amplitude_contrast": contrast}
    assert along_x(zeros, defocus_a, **parameters).abs().max() < 1e-5
    between = along_x((zeros[:-1] + zeros[1:]) / 2, defocus_a, **parameters)
    assert torch.equal(between.sign(), torch.tensor([-1.0, 1.0, -1.0, 1.0]))


def test_density_stays_bright_at_low_resolution():
    assert along_x([0.0], 15_000.0, **TITAN) == pytest.approx(0.07)
    assert along_x([0.01], 15_000.0, **TITAN) > 0.07


def test_scherzer_defocus_has_its_flat_band_and_its_resolution():
    """Δf = √(4/3 Cs λ): the phase rises to 2π/3 and the first zero lies at (16/3)^¼ (Cs λ³)^−¼."""
    wavelength, cs_a = wavelength_a(300), 2.7e7
    scherzer_a = math.sqrt(4 / 3 * cs_a * wavelength)
    plateau = math.sqrt(scherzer_a / (cs_a * wavelength**2))
    assert along_x([plateau], scherzer_a, **PHASE_ONLY) == pytest.approx(math.sin(2 * math.pi / 3))
    zero = (16 / 3) ** 0.25 * (cs_a * wavelength**3) ** -0.25
    inside = along_x(torch.linspace(0.02, 0.999, 500) * zero, scherzer_a, **PHASE_ONLY)
    assert inside.min() > 0
    assert along_x([zero], scherzer_a, **PHASE_ONLY) == pytest.approx(0, abs=1e-5)
    assert along_x([1.02 * zero], scherzer_a, **PHASE_ONLY) < 0


def test_astigmatism_is_two_defoci_at_right_angles():
    """Along its axis the CTF is that of defocus u, across that of v, and half a turn changes nothing."""
    frequency, axis_deg = torch.linspace(0.01, 0.3, 50, dtype=torch.float64), 33.0
    for turned_deg, defocus_a in ((0, 12_000.0), (180, 12_000.0), (90, 10_000.0), (45, 11_000.0), (-45, 11_000.0)):
        turned = math.radians(axis_deg + turned_deg)
        found = ctf_at(
            frequency * math.cos(turned), frequency * math.sin(turned), 12_000.0, 10_000.0, axis_deg, **TITAN
        )
        assert torch.allclose(found[0], along_x(frequency, defocus_a, **TITAN), atol=1e-5)


def test_the_angle_of_astigmatism_runs_from_columns_to_rows():
    values = ctf(64, 2.0, 12_000.0, defocus_v_a=9_000.0, **TITAN)[0]  # u along the columns
    frequency = torch.fft.rfftfreq(64, d=2.0, dtype=torch.float64)
    assert torch.allclose(values[0], along_x(frequency, 12_000.0, **TITAN), atol=1e-6)
    assert torch.allclose(values[:33, 0], along_x(frequency, 9_000.0, **TITAN), atol=1e-6)
    diagonal = ctf(64, 2.0, 12_000.0, defocus_v_a=9_000.0, defocus_angle_deg=45.0, **TITAN)[0]
    step = torch.arange(20)
    expected = along_x(frequency[:20] * math.sqrt(2), 12_000.0, **TITAN)
    assert torch.allclose(diagonal[step, step], expected, atol=1e-6)  # [+y, +x]
    assert not torch.allclose(diagonal[-step, step], expected, atol=0.1)


@pytest.mark.parametrize("n", [16, 17])
def test_filters_a_real_image_to_a_real_image_that_keeps_its_centre(n):
    defocus_u_a, defocus_v_a = torch.tensor([8_000.0, 12_000.0]), torch.tensor([7_000.0, 12_500.0])
    values = ctf(n, 1.5, defocus_u_a, defocus_v_a=defocus_v_a, defocus_angle_deg=20.0, **TITAN)
    assert values.shape == (2, n, n // 2 + 1)
    assert values.dtype == torch.float32
    point = torch.zeros(n, n)
    point[n // 2, n // 2] = 1
    spread = torch.fft.irfft2(torch.fft.rfft2(point) * values, s=(n, n))
    inverted = torch.roll(spread.flip(1, 2), (1 - n % 2, 1 - n % 2), dims=(1, 2))
    inner = slice(1, None)  # row and column 0 of an even box have no partner
    assert torch.allclose(spread[:, inner, inner], inverted[:, inner, inner], atol=0.02)
    assert spread.sum(dim=(1, 2)) == pytest.approx([0.07, 0.07], rel=1e-4)


def test_the_b_factor_damps_amplitudes():
    frequency = torch.linspace(0, 0.3, 40, dtype=torch.float64)
    ratio = along_x(frequency, 10_000.0, **TITAN, b_factor_a2=50.0) / along_x(frequency, 10_000.0, **TITAN)
    assert torch.allclose(ratio.double(), torch.exp(-50 / 4 * frequency**2), atol=1e-5)


def test_a_phase_plate_adds_to_the_phase():
    assert along_x([0.0], 0.0, **PHASE_ONLY, phase_shift_deg=90.0) == pytest.approx(1)


def test_a_batch_is_what_its_particles_are_alone():
    defocus_a = torch.tensor([5_000.0, 15_000.0, 22_000.0])
    each = {
        "voltage_kv": torch.tensor([300.0, 200.0, 300.0]),
        "cs_mm": torch.tensor([2.7, 2.0, 0.01]),
        "amplitude_contrast": torch.tensor([0.07, 0.1, 0.0]),
    }
    together = ctf(24, 1.2, defocus_a, **each)
    for k in range(3):
        alone = ctf(24, 1.2, float(defocus_a[k]), **{name: float(value[k]) for name, value in each.items()})
        assert torch.allclose(together[k], alone[0], atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"voltage_kv": 0.0},
        {"amplitude_contrast": 1.5},
        {"amplitude_contrast": float("nan")},
        {"cs_mm": torch.ones(3)},
        {"cs_mm": torch.ones(2, 2)},
    ],
)
def test_impossible_microscopes_are_refused(wrong):
    with pytest.raises(ValueError):
        ctf(8, 1.0, torch.tensor([1e4, 2e4]), **{**TITAN, **wrong})


@pytest.mark.parametrize(("n", "pixel_size_a"), [(0, 1.0), (8, 0.0), (8, float("nan"))])
def test_impossible_grids_are_refused(n, pixel_size_a):
    with pytest.raises(ValueError, match="positive"):
        ctf(n, pixel_size_a, 1e4, **TITAN)
