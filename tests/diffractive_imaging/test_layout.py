"""Where patches lie, and what is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.diffractive_imaging.networks.layout import lay_out
from workflow_scripts.diffractive_imaging.networks.stitching import damped_average, least_squares
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


def test_only_the_pixels_under_the_weights_take_room():
    weights = torch.zeros(32, 32)
    weights[10:20, 11:23] = 1.0
    layout, pixels = lay_out(torch.zeros(1, 32, 32), torch.tensor([[100.0, 200.0]]), weights, 4)
    assert pixels.shape == (1, 120)
    assert layout.origin == (98, 198)
    assert layout.extent == (12, 16)


def inputs(**changed):
    given = {"patches": torch.zeros(3, 8, 8), "positions": torch.zeros(3, 2), "weights": torch.ones(8, 8)}
    return given | changed


def with_value(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (inputs(patches=torch.zeros(3, 8, 7)), {}, r"shape \(3, 8, 7\); expected \(N, n, n\)"),
        (inputs(patches=torch.zeros(0, 8, 8), positions=torch.zeros(0, 2)), {}, "at least one patch"),
        (inputs(positions=torch.zeros(4, 2)), {}, r"\(4, 2\) for 3 patches"),
        (inputs(positions=with_value(torch.zeros(3, 2), 1, math.nan)), {}, "position of patch 1"),
        (inputs(positions=with_value(torch.zeros(3, 2), 2, 1e6)), {}, "object pixels, not in Å"),
        (inputs(patches=with_value(torch.zeros(3, 8, 8), 2, math.inf)), {}, "the first is number 2"),
        (inputs(weights=torch.ones(6, 6)), {}, r"weights of a patch have the shape \(6, 6\)"),
        (inputs(weights=torch.zeros(8, 8)), {}, "> 0 at one pixel"),
        (inputs(weights=-torch.ones(8, 8)), {}, "finite and ≥ 0"),
        (inputs(), {"upsampling": 2.5}, "upsampling is 2.5"),
        (inputs(), {"upsampling": 0}, "upsampling is 0"),
        (inputs(), {"confidence": torch.ones(2)}, r"confidence has the shape \(2,\)"),
        (inputs(), {"confidence": -torch.ones(3)}, "finite and ≥ 0"),
        (inputs(), {"confidence": torch.zeros(3)}, "> 0 for at least one"),
    ],
)
def test_what_cannot_be_stitched_is_one_sentence(arguments, options, message):
    with pytest.raises(InputError, match=message) as caught:
        least_squares(*arguments.values(), **options)
    assert "\n" not in str(caught.value)


def test_the_published_stitch_refuses_the_same():
    with pytest.raises(InputError, match=r"\(4, 2\) for 3 patches"):
        damped_average(torch.zeros(3, 8, 8), torch.zeros(4, 2), torch.ones(8, 8), generator=torch.Generator())


def test_nan_outside_the_mask_and_in_patches_left_out_is_no_matter():
    patches = torch.zeros(3, 8, 8)
    patches[:, 0, 0] = math.nan
    patches[1] = math.nan
    weights = with_value(torch.ones(8, 8), (0, 0), 0.0)
    stitched = least_squares(patches, torch.zeros(3, 2), weights, confidence=torch.tensor([1.0, 0.0, 1.0]))
    assert np.isclose(float(stitched.coverage.max()), 2.0)
