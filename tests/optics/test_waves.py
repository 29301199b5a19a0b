import math

import pytest

from workflow_scripts.optics.waves import interaction_parameter, wavelength_a


@pytest.mark.parametrize(
    ("voltage_kv", "expected_a"), [(80, 0.041757), (100, 0.037014), (200, 0.025079), (300, 0.019687)]
)
def test_agrees_with_kirklands_table(voltage_kv, expected_a):
    assert wavelength_a(voltage_kv) == pytest.approx(expected_a, abs=1e-6)


def test_slow_electrons_are_not_relativistic():
    assert wavelength_a(1e-3) == pytest.approx(12.2643, rel=1e-5)  # 1 V: h / √(2 m e V)


@pytest.mark.parametrize("voltage_kv", [0, -80, float("nan")])
def test_refuses_a_voltage_that_accelerates_nothing(voltage_kv):
    for function in (wavelength_a, interaction_parameter):
        with pytest.raises(ValueError, match="voltage_kv"):
            function(voltage_kv)


@pytest.mark.parametrize(
    ("voltage_kv", "expected"), [(80, 1.0087e-3), (100, 0.9244e-3), (200, 0.7288e-3), (300, 0.6526e-3)]
)
def test_the_interaction_parameter_agrees_with_kirklands_table(voltage_kv, expected):
    assert interaction_parameter(voltage_kv) == pytest.approx(expected, abs=1e-7)


def test_the_interaction_parameter_is_what_a_potential_does_to_the_wavelength():
    """2π (1/λ' − 1/λ) along 1 Å of 1 V; the formula of the projection is its first order."""
    for voltage_kv in (80, 300):
        gained = 2 * math.pi * (1 / wavelength_a(voltage_kv + 1e-3) - 1 / wavelength_a(voltage_kv))
        assert gained == pytest.approx(interaction_parameter(voltage_kv), rel=1e-4)
