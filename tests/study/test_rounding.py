"""Digits follow the interval."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.study.rounding import decimals_for, shown, three_digits


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.92871, 0.92511, 0.93322), "0.929 [0.925, 0.933]"),
        ((0.128, 0.092, 0.169), "0.128 [0.092, 0.169]"),
        ((2169.4, 1903.0, 2430.0), "2170 [1900, 2430]"),
        ((-0.0001, -0.02, 0.02), "0.000 [-0.020, 0.020]"),
        ((0.5, 0.5, 0.5), "0.500"),
        ((27882.0,), "27900"),
        ((0.0012345,), "0.00123"),
        ((0.0,), "0"),
        ((math.nan,), ""),
    ],
)
def test_a_reader_sees_what_the_interval_allows(numbers, text):
    assert shown(*numbers) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e3))
def test_rounding_moves_nothing_by_more_than_a_fifth_of_the_interval(value, half_width):
    text = shown(value, value - half_width, value + half_width)
    assert abs(float(text.split()[0]) - value) <= 0.2 * half_width
    assert "e" not in text


@given(st.floats(1e-9, 1e9))
def test_three_digits_are_three(value):
    assert float(three_digits(value)) == pytest.approx(value, rel=5e-3)


def test_no_width_is_refused():
    with pytest.raises(ValueError, match="half_width"):
        decimals_for(0.0)
