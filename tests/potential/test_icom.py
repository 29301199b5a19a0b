"""Integrated centre of mass: exact integrals, and a weak phase object through probe, specimen and detector."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.potential.toy import MICROSCOPE, toy_samples
from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.plane_waves import Field, Probe, Specimen, images
from workflow_scripts.potential.estimators import icom
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, RING
from workflow_scripts.study.metrics import root_mean_square
from workflow_scripts.workflow.errors import InputError

PIXEL_A = 0.2


@settings(max_examples=20, deadline=None)
@given(row=st.integers(0, 4), column=st.integers(0, 4))
def test_the_gradient_of_a_mirrored_wave_integrates_to_the_wave(row, column):
    """Cosines that fit the mirrored image, whose derivative is known, come back without their mean."""
    side = 48
    at = (np.arange(side) + 0.5) / side * np.pi
    y, x = at[:, None], at[None, :]
    wave = np.cos(row * y) * np.cos(column * x)
    per_a = np.pi / (side * PIXEL_A)
    slope = [
        -row * per_a * np.sin(row * y) * np.cos(column * x),
        -column * per_a * np.cos(row * y) * np.sin(column * x),
    ]
    found = icom.integrate(np.array(slope)[None], PIXEL_A)[0]
    assert np.allclose(found, wave - wave.mean(), atol=1e-9)


def test_a_slope_without_periods_does_not_wrap_around():
    """A parabola that is cut off: the error of its integral at the edges is at most that of a kink."""
    side = 64
    y, x = np.meshgrid(*[(np.arange(side) - 20) * PIXEL_A] * 2, indexing="ij")
    found = icom.integrate(np.array([2 * y, x])[None], PIXEL_A)[0]
    truth = y**2 + x**2 / 2
    error = found - truth + truth.mean()
    assert root_mean_square(error) < 0.02 * truth.std()


def test_centroids_of_segments_are_those_of_their_pixels():
    axis = np.linspace(-60, 60, 1201)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius, azimuth = np.hypot(y, x), np.degrees(np.arctan2(x, y)) % 360
    for number, centroid in enumerate(icom.segment_centroids_mrad(10, 50)):
        inside = (radius >= 10) & (radius < 50) & (azimuth // 90 == number)
        assert centroid == pytest.approx([y[inside].mean(), x[inside].mean()], abs=0.1)


@pytest.mark.parametrize("detector", [RING, MATCHED])
def test_a_weak_phase_object_is_recovered_up_to_its_scale(detector):
    """A phase of 1 mrad, not symmetric, through plane waves and segments: iCOM is its image, upright and positive."""
    side, pixel_a = 40, 0.16
    y, x = np.meshgrid(*[np.arange(side) * 2 * np.pi / side] * 2, indexing="ij")
    phase = 1e-3 * (np.cos(2 * y + x) + 0.6 * np.sin(3 * x) + 0.4 * np.cos(y - 2 * x + 1))
    specimen = Specimen(
        torch.polar(torch.ones(1, side, side, dtype=torch.float64), torch.from_numpy(phase)[None]), [1], [1]
    )
    field = Field((side, side), (pixel_a, pixel_a), (3, 3))
    segments = Detector(*MICROSCOPE.ring_mrad[detector], segments=4)
    shares = images(specimen, field, Probe(200.0, 20.0), [segments]).raster((side, side)).numpy()
    deflection = icom.center_of_mass_mrad(shares, MICROSCOPE.ring_mrad[detector])
    deflection -= deflection.mean(axis=(2, 3), keepdims=True)
    found = icom.integrate(np.tile(deflection, (1, 1, 3, 3)), pixel_a)[0]
    middle = np.s_[side : 2 * side, side : 2 * side]  # the mirror is far
    assert np.corrcoef(found[middle].ravel(), phase.ravel())[0, 1] > 0.97


def filtered(factor_by_thickness, noise=0.0):
    """The filter fitted to potentials that are their iCOM times a factor of the thickness, with white noise."""
    samples = toy_samples(3)
    samples = samples.rows(samples.kind == FILLED)
    image = icom.icom(samples.images[MATCHED], samples, MATCHED)
    scale = np.array([factor_by_thickness[thickness] for thickness in samples.thickness_nm])
    made = replace(samples, potential=scale[:, None, None] * image + 500.0)
    noisy = samples.images[MATCHED] + noise * np.random.default_rng(0).standard_normal(samples.images[MATCHED].shape)
    return icom.calibrate([noisy], [made], MATCHED), image, made


def test_one_factor_a_thickness_makes_volts_of_it():
    factor = {10.0: 30.0, 40.0: 70.0}
    wiener, image, made = filtered(factor)
    for thickness_nm, value in factor.items():
        assert wiener.factors(thickness_nm)[1:40] * thickness_nm == pytest.approx(np.full(39, value), rel=1e-3)
    row = np.flatnonzero(made.thickness_nm == 40)[0]
    found = wiener(image[row : row + 1], 40.0, PIXEL_A)[0]
    assert np.allclose(found, made.potential[row] - made.potential[row].mean(), atol=1e-3 * found.std())


def test_noise_damps_the_bands_where_it_exceeds_the_signal():
    clean, noisy = (filtered({10.0: 30.0, 40.0: 70.0}, noise)[0].factors(40.0) for noise in (0.0, 0.02))
    assert (abs(noisy[1:50]) < 1.02 * clean[1:50]).all()
    assert abs(noisy[40:50]).max() < 0.2 * clean[40:50].max()


def test_a_single_orientation_is_refused():
    samples = toy_samples(1)
    with pytest.raises(InputError, match="icom needs two orientations"):
        filled = samples.rows(samples.kind == FILLED)
        icom.calibrate([filled.images[RING]], [filled], RING)


def test_a_tilt_of_the_whole_crystal_makes_no_ramp():
    samples = toy_samples(1)
    tilted = samples.images[RING] + np.array([0.02, 0.0, -0.02, 0.0], np.float32)[:, None, None]
    upright = icom.icom(samples.images[RING], samples, RING)
    assert np.allclose(icom.icom(tilted, samples, RING), upright, atol=1e-3 * np.abs(upright).max())
