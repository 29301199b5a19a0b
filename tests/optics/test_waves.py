import pytest

from workflow_scripts.optics.waves import wavelength_a


@pytest.mark.parametrize(
    ("voltage_kv", "expected_a"), [(80, 0.041757), (100, 0.037014), (200, 0.025079), (300, 0.019687)]
)
def test_agrees_with_kirklands_table(voltage_kv, expected_a):
    assert wavelength_a(voltage_kv) == pytest.approx(expected_a, abs=1e-6)


def test_slow_electrons_are_not_relativistic():
    assert wavelength_a(1e-3) == pytest.approx(12.2643, rel=1e-5)  # 1 V: h / √(2 m e V)


@pytest.mark.parametrize("voltage_kv", [0, -80, float("nan")])
def test_refuses_a_voltage_that_accelerates_nothing(voltage_kv):
    with pytest.raises(ValueError, match="voltage_kv"):
        wavelength_a(voltage_kv)
