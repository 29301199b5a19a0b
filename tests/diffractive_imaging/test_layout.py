"""Where patches lie, and what is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.diffractive_imaging.networks.layout import lay_out
from workflow_scripts.diffractive_imaging.networks.stitching import least_squares
from workflow_scripts.workflow.errors import InputError


def test_a_patch_lies_with_its_centre_pixel_on_the_position():
    patch = torch.zeros(1, 8, 8)
    patch[0, 4, 4], patch[0, 4, 5] = 1.0, 2.0
    layout, pixels = lay_out(patch, torch.tensor([[5.0, 7.0]]), torch.ones(8, 8), 4)
    image = layout.scatter(pixels)
    top, left = (4 * start for start in layout.origin)
    assert image[20 - top, 28 - left] == 1
    assert image[20 - top, 29 - left] == 2


@given(
    st.lists(st.tuples(st.floats(-3, 9), st.floats(-3, 9)), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_summing_patches_is_the_adjoint_of_cutting_them(positions, upsampling, seed):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.tensor(positions, dtype=torch.float64)
    values = torch.randn((len(positions), 6, 6), generator=generator, dtype=torch.float64)
    layout, pixels = lay_out(values, positions, torch.ones(6, 6), upsampling)
    image = torch.randn(layout.shape, generator=generator, dtype=torch.float64)
    cut = torch.cat([image.flatten()[index] for _, index in layout.indices()])  # (N, K)
    assert torch.isclose((layout.scatter(pixels) * image).sum(), (pixels * cut).sum())


@given(st.lists(st.tuples(st.floats(-3, 9), st.floats(-3, 9)), min_size=1, max_size=6), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_rounded_place_and_remainder_are_the_position(positions, upsampling):
    positions = torch.tensor(positions, dtype=torch.float64)
    layout, _ = lay_out(torch.zeros(len(positions), 6, 6), positions, torch.ones(6, 6), upsampling)
    rows, columns = layout.corners // layout.shape[1], layout.corners % layout.shape[1]
    centres = torch.stack([rows, columns], 1) + 3 + upsampling * torch.tensor(layout.origin)
    assert layout.remainders.abs().max() <= 0.5
    assert torch.allclose(centres + layout.remainders, upsampling * positions)


def test_only_pixels_with_weight_are_stored():
    weights = torch.zeros(32, 32)
    weights[10:20, 11:23] = 1.0
    layout, pixels = lay_out(torch.zeros(1, 32, 32), torch.tensor([[100.0, 200.0]]), weights, 4)
    assert pixels.shape == (1, 120)
    assert layout.origin == (98, 198)
    assert layout.extent == (12, 16)


def with_value(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    ("patches", "positions", "message"),
    [
        (torch.zeros(3, 8, 8), with_value(torch.zeros(3, 2), 2, 1e6), "object pixels, not in Å"),
        (with_value(torch.zeros(3, 8, 8), 2, math.inf), torch.zeros(3, 2), "the first is number 2"),
    ],
)
def test_what_cannot_be_stitched_is_one_sentence(patches, positions, message):
    with pytest.raises(InputError, match=message) as caught:
        least_squares(patches, positions, torch.ones(8, 8))
    assert "\n" not in str(caught.value)


def test_nan_outside_the_mask_is_ignored():
    patches = torch.zeros(3, 8, 8)
    patches[:, 0, 0] = math.nan
    weights = with_value(torch.ones(8, 8), (0, 0), 0.0)
    stitched = least_squares(patches, torch.zeros(3, 2), weights)
    assert np.isclose(float(stitched.coverage.max()), 3.0)
