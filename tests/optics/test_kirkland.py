"""Kirkland's table: every element by the law that all of them approach, some by their forward scattering."""

import math

import pytest
import torch
from ase.data import chemical_symbols

from workflow_scripts.optics.kirkland import scattering_factor_a

BOHR_A = 0.529177


@pytest.mark.parametrize("number", range(1, 104))
def test_far_out_only_the_nucleus_scatters(number):
    """Mott and Bethe: f = (Z − f_x) / (2π² a₀ q²), and the X-ray factor f_x dies away."""
    frequency_squared = torch.tensor([100.0, 144.0], dtype=torch.float64)
    law = number / (2 * math.pi**2 * BOHR_A * frequency_squared)
    ratio = scattering_factor_a(chemical_symbols[number], frequency_squared) / law
    assert ((ratio > 0.91) & (ratio < 1.03)).all()


def test_hydrogen_is_known_in_closed_form():
    """f_x of the 1s state is (1 + π² a₀² q²)⁻²; the fit follows it to 2 %."""
    squared = torch.linspace(0.01, 9, 50, dtype=torch.float64)
    electrons = (1 + math.pi**2 * BOHR_A**2 * squared) ** -2
    exact = (1 - electrons) / (2 * math.pi**2 * BOHR_A * squared)
    assert (scattering_factor_a("H", squared) / exact - 1).abs().max() < 0.02


def test_an_unknown_element_is_refused():
    with pytest.raises(ValueError, match="'Xx'"):
        scattering_factor_a("Xx", torch.zeros(1))
