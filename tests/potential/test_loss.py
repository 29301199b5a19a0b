"""The loss depends on the positions of the atoms; the recipe's Fourier term does not."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.potential.networks.losses import (
    fft_modulus_l1,
    gradient_l1,
    gradient_modulus_l1,
    l1,
    loss_by_row,
    weighted_terms,
)
from workflow_scripts.potential.settings import VARIANTS

PERIOD_PX = 16
# Half a period of shift costs these at least what the mean of the image does
POSITION_AWARE = (l1, gradient_l1)


def crystal(sharpness: float) -> torch.Tensor:
    """Columns of a square lattice: float64 (1, 64, 64), periodic over 16 pixels."""
    wave = torch.cos(2 * math.pi * torch.arange(64, dtype=torch.float64) / PERIOD_PX)
    row = torch.exp(sharpness * (wave - 1))
    return (row[:, None] * row)[None]


def cost(term, truth: torch.Tensor, shift: tuple[int, int]) -> tuple[float, float]:
    """What half a period of shift costs, and what the mean of the image costs."""
    shifted = truth.roll(shift, dims=(-2, -1))
    mean = truth.mean().expand_as(truth)
    return float(term(shifted, truth)), float(term(mean, truth))


HALVES = st.sampled_from([(8, 0), (0, 8), (8, 8)])


@pytest.mark.parametrize("term", POSITION_AWARE)
@settings(max_examples=30, deadline=None)
@given(sharpness=st.floats(0.3, 8), shift=HALVES)
def test_half_a_period_of_shift_costs_at_least_what_the_mean_costs(term, sharpness, shift):
    shifted, mean = cost(term, crystal(sharpness), shift)
    assert shifted >= mean * (1 - 1e-9)
    assert mean > 0


@settings(max_examples=30, deadline=None)
@given(sharpness=st.floats(0.3, 8), shift=st.tuples(st.integers(0, 63), st.integers(0, 63)))
def test_the_recipes_fourier_term_does_not_see_a_shift_at_all(sharpness, shift):
    term = fft_modulus_l1
    shifted, mean = cost(term, crystal(sharpness), shift)
    assert shifted < 1e-9 * mean
    turned = crystal(sharpness).flip(-2, -1).roll((3, 1), dims=(-2, -1))
    assert float(term(turned, crystal(sharpness))) < 1e-9 * mean


@pytest.mark.parametrize("term", (*POSITION_AWARE, gradient_modulus_l1, fft_modulus_l1))
def test_a_term_is_zero_for_the_truth_alone_and_gives_a_number_a_row(term):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 16, 16, generator=generator)
    other = truth.clone()
    other[1] += torch.rand(16, 16, generator=generator)
    found = term(other, truth)
    assert found.shape == (3,)
    assert found[1] > 0
    assert found[[0, 2]].tolist() == [0, 0]


def test_the_recipes_gradient_term_takes_rising_for_falling():
    slope = torch.arange(16.0).expand(1, 16, 16)
    assert float(gradient_modulus_l1(slope.flip(-1), slope)) == 0
    assert float(gradient_l1(slope.flip(-1), slope)) == pytest.approx(2)
    shifted, mean = cost(gradient_modulus_l1, crystal(0.5), (8, 0))
    assert shifted < 0.7 * mean


def test_in_the_published_loss_the_blind_term_outweighs_the_pixels_and_in_the_corrected_one_it_is_absent():
    truth = crystal(3).float()[:, None].expand(-1, 2, -1, -1)
    mean = truth.mean().expand_as(truth)
    terms = {name: weighted_terms(variant, 0.5, 0.5) for name, variant in VARIANTS.items()}
    pixels, blind, _ = ((weighted,) for weighted in terms["published"])
    assert (pixels[0][0], blind[0][0]) == (l1, fft_modulus_l1)
    assert loss_by_row(mean, truth, blind) > loss_by_row(mean, truth, pixels)
    shifted = truth.roll(8, dims=-1)
    assert loss_by_row(shifted, truth, terms["published"]) < loss_by_row(mean, truth, terms["published"])
    assert {term for term, _, _ in terms["corrected"]} == set(POSITION_AWARE)
    assert loss_by_row(shifted, truth, terms["corrected"]) >= loss_by_row(mean, truth, terms["corrected"])


def test_the_second_task_counts_in_the_corrected_loss_alone():
    truth = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    wrong = truth.clone()
    wrong[:, 1] += 1
    published, corrected = (weighted_terms(VARIANTS[name], 0.5, 0.25) for name in ("published", "corrected"))
    assert loss_by_row(wrong, truth, published).tolist() == [0, 0]
    assert loss_by_row(wrong, truth, corrected).tolist() == pytest.approx([0.25, 0.25])
