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


def test_long_periods_are_left_out():
    rng = np.random.default_rng(0)
    found = icom.integrate(rng.standard_normal((1, 2, 64, 64)), PIXEL_A, longest_period_a=2.0)[0]
    mirrored = np.block([[found, found[:, ::-1]], [found[::-1], found[::-1, ::-1]]])
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128, PIXEL_A)] * 2, indexing="ij"))
    power = np.abs(np.fft.fft2(mirrored)) ** 2
    assert power[frequency < 1 / 2.0 - 1e-6].sum() < 1e-12 * power.sum()


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


def test_one_factor_a_thickness_makes_volts_of_it():
    """Potentials that are their iCOM times a factor of the thickness: the fit recovers that factor."""
    samples = toy_samples(2)
    samples = samples.rows(samples.kind == FILLED)
    shares = samples.images[MATCHED]
    factor = {10.0: 30.0, 40.0: 70.0}
    image = icom.icom(shares, samples, MATCHED)
    scale = np.array([factor[thickness] for thickness in samples.thickness_nm])
    made = replace(samples, potential=scale[:, None, None] * image + 500.0)
    found = icom.calibrate([shares], [made], MATCHED)
    assert found.longest_period_a == np.inf
    assert found.factor == pytest.approx(factor)


def test_a_tilt_of_the_whole_crystal_makes_no_ramp():
    samples = toy_samples(1)
    tilted = samples.images[RING] + np.array([0.02, 0.0, -0.02, 0.0], np.float32)[:, None, None]
    upright = icom.icom(samples.images[RING], samples, RING)
    assert np.allclose(icom.icom(tilted, samples, RING), upright, atol=1e-3 * np.abs(upright).max())
