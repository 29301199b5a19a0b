"""Kirkland's table of electron scattering factors, H to Lr, and its parametrisation.

Appendix C of Kirkland, Advanced Computing in Electron Microscopy (doi:10.1007/978-3-030-33260-0). kirkland.csv beside
this module holds a row for each element: its symbol and a₁ b₁ a₂ b₂ a₃ b₃ c₁ d₁ c₂ d₂ c₃ d₃, rounded to ten decimals;
a in Å⁻¹, b in Å⁻², c in Å, d in Å². The fit holds up to 12 Å⁻¹.
"""

import csv
from pathlib import Path

import torch
from torch import Tensor

with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as _file:
    _header, *_rows = csv.reader(_file)
_PARAMETERS = {symbol: [float(word) for word in words] for symbol, *words in _rows}


def scattering_factor_a(symbol: str, frequency_squared: Tensor) -> Tensor:
    """Electron scattering factor of a neutral atom at rest, in the first Born approximation, without relativity.

    f(q) = Σᵢ aᵢ / (q² + bᵢ) + Σᵢ cᵢ exp(−dᵢ q²), appendix C of the book.

    Args:
        symbol: of the element, from H to Lr.
        frequency_squared: q² in Å⁻², any shape; q = 2 sin(θ/2) / λ.

    Returns:
        f in Å, of the same shape.

    Raises:
        ValueError: the table holds no such element.
    """
    if symbol not in _PARAMETERS:
        raise ValueError(f"there is no element {symbol!r} in the table, which runs from H to Lr")
    parameters = _PARAMETERS[symbol]
    pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
    lorentzians = [a / (frequency_squared + b) for a, b in pairs[:3]]
    gaussians = [c * torch.exp(-d * frequency_squared) for c, d in pairs[3:]]
    return sum(lorentzians) + sum(gaussians)
