"""The user's diffraction patterns: the disc is where it is, and what is no count is named."""

import numpy as np
import pytest

from workflow_scripts.formats.scan import find_disc, mean_pattern, pattern_chunks, scan_shape
from workflow_scripts.workflow.errors import InputError


@pytest.mark.parametrize("center", [(43.3, 51.8), (30.0, 70.5)])
@pytest.mark.parametrize("background", [0.0, 0.02, 0.2])
def test_the_disc_is_found(center, background):
    y, x = np.mgrid[:90, :100]
    mean = np.clip(20.5 - np.hypot(y - center[0], x - center[1]), 0, 1) + background
    disc = find_disc(mean, "it")
    assert disc.center_px == pytest.approx(center, abs=0.1)
    assert disc.radius_px == pytest.approx(20.0, abs=0.2)


def test_no_disc_is_said_with_the_keys_to_give():
    with pytest.raises(InputError, match="no bright-field disc; give center_px"):
        find_disc(np.ones((20, 20)), "center_px")


def test_the_mean_is_over_all_patterns_in_either_form():
    stack = np.random.default_rng(0).poisson(3.0, (3, 4, 8, 9))
    for form in (stack, stack.reshape(12, 8, 9)):
        assert np.allclose(mean_pattern(form, "it"), stack.mean(axis=(0, 1)))
        assert np.array_equal(np.concatenate(list(pattern_chunks(form, "it"))), stack.reshape(12, 8, 9))


@pytest.mark.parametrize(
    ("value", "sentence"), [(np.nan, "pattern 5 holds values that are not finite"), (-2, "5 holds the negative count")]
)
def test_what_is_no_count_is_named(value, sentence):
    stack = np.ones((2, 4, 8, 8))
    stack[1, 1, 3, 3] = value
    with pytest.raises(InputError, match=sentence):
        mean_pattern(stack, "it")


def test_dark_patterns_are_refused():
    with pytest.raises(InputError, match="all counts are 0"):
        mean_pattern(np.zeros((2, 4, 8, 8)), "it")


def test_the_shape_of_the_scan():
    assert scan_shape((3, 4, 8, 8), None, "it") == (3, 4)
    assert scan_shape((12, 8, 8), (4, 3), "it") == (4, 3)
    assert scan_shape((12, 8, 8), None, "it") is None
    with pytest.raises(InputError, match=r"holds 12 patterns, but scan_shape \[5, 5\] wants 25"):
        scan_shape((12, 8, 8), (5, 5), "it")
    with pytest.raises(InputError, match="expected"):
        scan_shape((8, 8), None, "it")
