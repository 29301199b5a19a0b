"""Splines: weights that sum to one, slopes that are derivatives, and a frame that agrees with stitching."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from tests.diffractive_imaging import scanned
from workflow_scripts.diffractive_imaging.networks import splines
from workflow_scripts.diffractive_imaging.networks.stitching import least_squares
from workflow_scripts.diffractive_imaging.simulation import forward

fractions = st.floats(0, 1, exclude_max=True).map(lambda x: torch.tensor(x, dtype=torch.float64))


@given(fractions)
def test_weights_are_those_of_scipy_and_slopes_their_derivatives(fraction):
    basis = BSpline.basis_element([-2, -1, 0, 1, 2])
    points = [float(fraction) - k for k in (-1, 0, 1, 2)]
    inside = [min(max(x, -2.0), 2.0) for x in points]
    assert splines.spline_weights(fraction).tolist() == pytest.approx(basis(inside).tolist(), abs=1e-12)
    assert splines.spline_slopes(fraction).tolist() == pytest.approx(basis.derivative()(inside).tolist(), abs=1e-9)


def test_a_refined_plane_is_a_plane_and_begins_on_the_second_coefficient():
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    fine = splines.refined(2 * y - x, 4)
    assert fine.shape == (16, 24)
    rows, columns = torch.meshgrid(1 + torch.arange(16) / 4, 1 + torch.arange(24) / 4, indexing="ij")
    assert torch.allclose(fine, 2 * rows - columns, atol=1e-5)


def test_the_image_lies_where_stitched_patches_do():
    scan = scanned.scan(points=12)
    patches = forward.window_at(scan.fine, scan.positions, 32, 1)
    weights = forward.patch_illumination(scan.light.probe) * forward.patch_mask(scan.light.probe)
    stitched = least_squares(patches, scan.positions, weights)
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    image = splines.as_stitched(y + 2 * x, (0, 0), scan.positions, scan.light, 1)
    assert image.origin == stitched.origin
    assert torch.equal(image.phase.isnan(), stitched.phase.isnan())
    assert torch.allclose(image.coverage, stitched.coverage)
    ramp = image.phase[~image.phase.isnan()]
    assert ramp.mean() == pytest.approx(0, abs=1e-4)
    top, left = image.origin
    rows, columns = torch.nonzero(~image.phase.isnan(), as_tuple=True)
    expected = rows / 4 + top + 2 * (columns / 4 + left)
    assert torch.allclose(ramp - ramp[0], expected - expected[0], atol=1e-3)
