"""DPC: the sign and scale of the gradient, integration that keeps long periods, and the probe's own blur."""

import pytest
import torch

from tests.diffractive_imaging import scanned
from workflow_scripts.diffractive_imaging.estimators import dpc
from workflow_scripts.diffractive_imaging.evaluation.transfer import beside_truth
from workflow_scripts.diffractive_imaging.networks.splines import as_stitched
from workflow_scripts.diffractive_imaging.simulation import datasets, forward
from workflow_scripts.optics.diffraction import diffraction_pattern


@pytest.fixture(scope="module")
def scan():
    return scanned.scan()


def test_a_phase_ramp_moves_the_pattern_by_its_gradient(scan):
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    ramp = 2 * torch.pi / 32 * (2 * (y - 16) - (x - 16))  # whole detector pixels: nothing leaks
    gradient = dpc.phase_gradient(diffraction_pattern(scan.light.probe, ramp.double())[None], scan.light)
    # What the skirt brings over the detector's edge comes back at the other.
    assert gradient[0] == pytest.approx([2 * 2 * torch.pi / 32, -2 * torch.pi / 32], rel=0.05)


def integrated(scan, gradient):
    coefficients, corner = dpc.integrate(gradient, scan.positions, scan.light)
    return as_stitched(coefficients, corner, scan.positions, scan.light, iterations=1)


def blurred_image(scan, counts):
    return integrated(scan, dpc.phase_gradient(counts, scan.light))


def test_an_empty_pattern_has_no_center():
    assert dpc.center_of_mass(torch.zeros(1, 8, 8), 4).tolist() == [[0.0, 0.0]]


def test_the_image_is_the_object_blurred_by_the_probe(scan):
    image = blurred_image(scan, scan.patterns)
    blurred = scan._replace(fine=blur(scan.fine, scan.light))
    assert blurred.rmse(image) < 0.5 * scan.rmse(image)
    assert scan.rmse(image) < 0.2  # the object has 0.5 rad
    image_rad, truth = beside_truth(image, scan.fine)
    assert image_rad.shape == truth.shape


def test_deconvolution_undoes_the_probe_and_not_more(scan):
    counts = torch.poisson(27882 * scan.patterns, generator=torch.Generator().manual_seed(0))
    sharp = dpc.reconstruct(counts, scan.positions, scan.light)
    assert scan.rmse(sharp) < 0.6 * scan.rmse(blurred_image(scan, counts))
    few = torch.poisson(30 * scan.patterns, generator=torch.Generator().manual_seed(0))
    sharp = dpc.reconstruct(few, scan.positions, scan.light)
    assert scan.rmse(sharp) < 1.05 * scan.rmse(blurred_image(scan, few))


def test_a_wiener_filter_inverts_a_correlation_that_no_noise_hides(scan):
    image = torch.randn(40, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = torch.zeros(8, 8, dtype=torch.float64)
    kernel[4, 4], kernel[4, 6], kernel[3, 4] = 0.7, 0.2, 0.1
    correlated = 0.7 * image + 0.2 * image.roll(-2, 1) + 0.1 * image.roll(1, 0)
    restored = dpc.wiener_deconvolved(correlated, kernel, 1e-9)
    assert torch.allclose(restored[12:-12, 12:-12], image[12:-12, 12:-12], atol=1e-3)
    assert float(dpc.wiener_deconvolved(correlated, kernel, 1e9).std()) < 1e-6


def test_the_power_of_the_object_is_told_from_that_of_the_noise(scan):
    """The same at all doses, and none for no object."""
    powers = []
    for dose in (1e6, 300.0):
        counts = torch.poisson(dose * scan.patterns, generator=torch.Generator().manual_seed(0))
        powers.append(dpc.one_over_f_power(counts, scan.light))
    assert powers[1] == pytest.approx(powers[0], rel=0.1)
    flat = diffraction_pattern(scan.light.probe, torch.zeros(32, 32, dtype=torch.float64)).expand(1024, 32, 32)
    counts = torch.poisson(300 * flat, generator=torch.Generator().manual_seed(0))
    signal, noise = dpc.gradient_variance(counts, scan.light)
    assert signal < 0.1 * noise


def blur(fine, light: datasets.Illumination):
    """An object on the fine grid convolved with |P|², sampled on object pixels of the fine grid."""
    kernel = torch.zeros_like(fine)
    rows = (torch.arange(32) - 16) * forward.UPSAMPLING
    kernel[rows[:, None], rows] = light.probe.abs().square()
    return torch.fft.irfft2(torch.fft.rfft2(fine) * torch.fft.rfft2(kernel), s=fine.shape)


def test_long_periods_are_integrated_exactly(scan):
    """Slopes of a smooth object, given exactly, give the object, on the jittered raster."""
    height = len(scan.fine) / forward.UPSAMPLING
    y, x = scan.positions.T
    wave = 2 * torch.pi / height
    slopes = torch.stack([wave * torch.cos(wave * y), -wave * torch.sin(wave * x)], dim=1)
    image = integrated(scan, slopes)
    axis = torch.arange(len(scan.fine)) / forward.UPSAMPLING
    smooth = torch.sin(wave * axis)[:, None] + torch.cos(wave * axis)
    assert scan._replace(fine=smooth.double()).rmse(image) < 0.01
