"""Electron waves: wavelength and interaction parameter at a microscope's voltage."""

import math

# CODATA 2022 (doi:10.1103/RevModPhys.97.025002). The first is exact, from the defined h, c and e.
PLANCK_SPEED_OF_LIGHT_EV_A = 12398.419843320026
ELECTRON_REST_ENERGY_EV = 510998.95069


def wavelength_a(voltage_kv: float) -> float:
    """De Broglie wavelength in Å of electrons accelerated through ``voltage_kv``, relativistically.

    λ = hc / √(eV (2 m c² + eV)), eq. 2.5 of Kirkland, Advanced Computing in Electron Microscopy
    (doi:10.1007/978-3-030-33260-0).

    Raises:
        ValueError: the voltage is not positive.
    """
    energy_ev = _energy_ev(voltage_kv)
    return PLANCK_SPEED_OF_LIGHT_EV_A / math.sqrt(energy_ev * (2 * ELECTRON_REST_ENERGY_EV + energy_ev))


def interaction_parameter(voltage_kv: float) -> float:
    """σ, the phase in rad that a wave gains per V Å of projected potential.

    σ = 2π m e λ / h² = (2π / λU) (m₀c² + eU) / (2 m₀c² + eU), eq. 5.6 of Kirkland, Advanced Computing in Electron
    Microscopy (doi:10.1007/978-3-030-33260-0).

    Raises:
        ValueError: the voltage is not positive.
    """
    energy_ev = _energy_ev(voltage_kv)
    mass_ratio = (ELECTRON_REST_ENERGY_EV + energy_ev) / (2 * ELECTRON_REST_ENERGY_EV + energy_ev)
    return 2 * math.pi / (wavelength_a(voltage_kv) * energy_ev) * mass_ratio


def _energy_ev(voltage_kv: float) -> float:
    if not voltage_kv > 0:
        raise ValueError(f"voltage_kv must be positive, not {voltage_kv}")
    return 1e3 * voltage_kv
