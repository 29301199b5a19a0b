"""Numbers for readers: as many digits as the interval allows."""

import math


def number(value: float) -> str:
    """Six significant digits, the same on every machine: 27882, 0.5, 1.23457e-05."""
    return f"{value:.6g}"


def decimals_for(half_width: float) -> int:
    """Decimals that an uncertainty leaves significant: one digit of it, two where it begins with 1, 2 or 3.

    0.004 gives 3, 0.015 gives 3, 50 gives -1. Raises ValueError unless half_width is positive.
    """
    if not half_width > 0:
        raise ValueError(f"half_width is {half_width}; expected more than zero")
    exponent = math.floor(math.log10(half_width))
    leading = half_width / 10**exponent
    return -exponent + (leading < 4)


def shown(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """``0.929 [0.925, 0.933]``; without an interval, or with one of no width, three significant digits."""
    if math.isnan(value):
        return ""
    if not high > low:
        return three_digits(value)
    decimals = decimals_for((high - low) / 2)
    return f"{_plain(value, decimals)} [{_plain(low, decimals)}, {_plain(high, decimals)}]"


def three_digits(value: float) -> str:
    """Three significant digits without an exponent: 0.00123, 1.23, 12300."""
    ordinary = value != 0 and math.isfinite(value)
    return _plain(value, 2 - math.floor(math.log10(abs(value))) if ordinary else 0)


def _plain(value: float, decimals: int) -> str:
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    return text.removeprefix("-") if float(text) == 0 else text
