"""Ptychography: its gradient and curvature, what it reaches, and that nothing but the patterns enters."""

import pytest
import torch

from tests.diffractive_imaging import scanned
from workflow_scripts.diffractive_imaging.estimators import ptychography
from workflow_scripts.diffractive_imaging.networks.splines import refined
from workflow_scripts.diffractive_imaging.settings import PtychographySettings
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.workflow.errors import InputError

CPU = torch.device("cpu")
SETTINGS = PtychographySettings(iterations=8, batches=24)
# On noiseless data, over all pixels that patches cover, the rim included.
STATED_RMSE_RAD = 5e-3


@pytest.fixture(scope="module")
def scan():
    return scanned.scan()


def reconstruct(scan, counts, dose, **changes):
    settings = SETTINGS.model_copy(update=changes)
    return ptychography.reconstruct(counts, scan.positions, scan.light, dose, settings, 0, CPU)


@pytest.fixture(scope="module")
def noiseless(scan):
    dose = 27882.0
    return reconstruct(scan, dose * scan.patterns, dose)


def test_noiseless_data_give_the_object(scan, noiseless):
    assert scan.rmse(noiseless.image) < STATED_RMSE_RAD


def test_the_loss_falls_and_the_image_is_that_of_the_smallest_held_out_loss(noiseless):
    fitted, held_out = zip(*noiseless.losses, strict=True)
    assert len(fitted) == SETTINGS.iterations
    assert fitted[-1] < 0.05 * fitted[0]
    assert held_out[noiseless.image.iterations - 1] == min(held_out)


@pytest.mark.parametrize(("every", "limit"), [(3, 0.02), (4, 0.035)])
def test_sparse_scans_converge_and_the_held_out_patterns_agree(scan, every, limit):
    """Steps of 2.61 and 3.48 object pixels."""
    dense = scanned.scan(points=64)
    kept = torch.zeros(64, 64, dtype=torch.bool)
    kept[::every, ::every] = True
    sparse = dense._replace(positions=dense.positions[kept.flatten()], patterns=dense.patterns[kept.flatten()])
    counts = torch.poisson(27882 * sparse.patterns, generator=torch.Generator().manual_seed(1))
    fit = reconstruct(sparse, counts, 27882.0)
    assert sparse.rmse(fit.image) < limit
    assert not fit.refusal


def test_two_patterns_are_too_few_and_three_are_not(scan):
    few = scan._replace(positions=scan.positions[:3])
    assert reconstruct(few, 1000 * scan.patterns[:3], 1000.0).image.phase.isfinite().any()
    with pytest.raises(InputError, match="needs at least 3 patterns, and the scan has 2"):
        reconstruct(scan._replace(positions=scan.positions[:2]), 1000 * scan.patterns[:2], 1000.0)


def test_wrong_positions_are_refused_in_words(scan):
    counts = torch.poisson(27882 * scan.patterns, generator=torch.Generator().manual_seed(1))
    fit = reconstruct(scan._replace(positions=scan.positions.flip(1)), counts, 27882.0)
    assert fit.misfit > ptychography.MISFIT_LIMIT
    assert f"{fit.misfit:.2f} times what counting noise gives" in fit.refusal and "\n" not in fit.refusal


@pytest.mark.parametrize("dose", [30.0, 1e5])
def test_for_a_true_object_the_loss_is_that_of_noise(scan, dose):
    flat = diffraction_pattern(scan.light.probe, torch.zeros(32, 32, dtype=torch.float64)).expand(1024, 32, 32)
    counts = torch.poisson(dose * flat, generator=torch.Generator().manual_seed(1))
    fit, rows = ptychography.ScanFit(counts, scan.positions, scan.light, dose, CPU), torch.arange(300)
    assert fit.loss_of_noise(torch.zeros(fit.shape), rows) == pytest.approx(
        fit.loss(torch.zeros(fit.shape), rows), rel=0.02
    )


@pytest.mark.parametrize(("std", "gain"), [(0.03, 0.8), (0.5, 1.03)])
def test_the_prior_helps_weak_objects_at_low_dose_and_harms_no_other(scan, std, gain, monkeypatch):
    """The object is scaled to `std`, whose patterns are simulated anew."""
    weak = scan._replace(fine=scan.fine * (std / 0.5))
    windows = forward.window_at(weak.fine, weak.positions, weak.light.n, forward.UPSAMPLING)
    patterns = diffraction_pattern(weak.light.probe, windows)
    counts = torch.poisson(279 * patterns, generator=torch.Generator().manual_seed(1))
    error = weak.rmse(reconstruct(weak, counts, 279.0).image)
    monkeypatch.setattr(ptychography, "one_over_f_power", lambda counts, light: 1e6)
    assert error < gain * weak.rmse(reconstruct(weak, counts, 279.0).image)


@pytest.mark.parametrize(("dose", "limit"), [(27882.0, 0.02), (279.0, 0.10)])
def test_counted_data_give_the_object_as_well_as_the_dose_allows(scan, dose, limit):
    counts = torch.poisson(dose * scan.patterns, generator=torch.Generator().manual_seed(1))
    fit = reconstruct(scan, counts, dose)
    assert 0.2 * limit < scan.rmse(fit.image) < limit
    repeated = reconstruct(scan, counts, dose)
    assert torch.equal(fit.image.phase.nan_to_num(7.0), repeated.image.phase.nan_to_num(7.0))


def test_an_early_iteration_is_taken_where_the_fit_runs_into_the_noise(scan):
    counts = torch.poisson(3 * scan.patterns, generator=torch.Generator().manual_seed(1))
    fit = reconstruct(scan, counts, 3.0, iterations=30)
    assert fit.image.iterations < 30
    fitted, held_out = zip(*fit.losses, strict=True)
    assert fitted[-1] < fitted[fit.image.iterations - 1]
    assert held_out[-1] > held_out[fit.image.iterations - 1]


def test_the_gradient_is_that_of_the_forward_model(scan):
    """Against automatic differentiation through optics, on a few patterns."""
    rows, dose = torch.arange(0, 1024, 113), 500.0
    counts = torch.poisson(dose * scan.patterns, generator=torch.Generator().manual_seed(1))
    fit = ptychography.ScanFit(counts, scan.positions, scan.light, dose, CPU)
    start = 0.3 * torch.randn(fit.shape, generator=torch.Generator().manual_seed(2))
    loss, gradient = fit.loss_and_gradient(start, rows)

    free = start.double().requires_grad_()
    total = 0.0
    for row in rows:
        phase = spline_window(free, scan.positions[row] - torch.tensor(fit.origin) - 16, 32)
        expected = dose * diffraction_pattern(scan.light.probe, phase) + ptychography.BACKGROUND_E
        n = counts[row] + ptychography.BACKGROUND_E
        total = total + 2 * (expected - n + n * (n / expected).log()).sum() / (len(rows) * 32**2)
    total.backward()
    assert loss == pytest.approx(total.item(), rel=1e-4)
    assert fit.loss(start, rows) == pytest.approx(loss, rel=1e-6)
    assert (gradient - free.grad).norm() < 1e-3 * free.grad.norm()


def spline_window(coefficients, corner, n):
    """The window by scipy's definition of a cubic B-spline, its taps written as one matrix along each axis."""
    grid = [torch.arange(length, dtype=torch.float64) for length in coefficients.shape]
    along = [bspline(start + torch.arange(n)[:, None] - centre) for start, centre in zip(corner, grid, strict=True)]
    return along[0] @ coefficients @ along[1].T


def bspline(x):
    x = x.abs()
    return torch.where(x < 1, 2 / 3 - x**2 + x**3 / 2, (2 - x).clamp(min=0) ** 3 / 6)


def test_the_curvature_is_that_of_the_loss_around_a_flat_object(scan):
    """A plane wave of small phase raises the loss of noiseless patterns of a flat object as the curvature predicts."""
    dose, amplitude = 1e5, 0.01
    flat = diffraction_pattern(scan.light.probe, torch.zeros(32, 32, dtype=torch.float64)).expand(1024, 32, 32)
    fit = ptychography.ScanFit(dose * flat, scan.positions, scan.light, dose, CPU)
    row, column = 6, 9
    y, x = (torch.arange(length) / length for length in fit.shape)
    wave = amplitude * torch.cos(2 * torch.pi * (row * y[:, None] + column * x))
    rows = torch.arange(1024)
    raised = fit.loss(wave, rows) - fit.loss(0 * wave, rows)
    # Coefficients of a plane wave to its values: the response of the spline at these frequencies.
    response = refined(wave.double(), 1).std() / wave.double().std()
    mean_square = (amplitude * response) ** 2 / 2
    curvature = fit.curvature()[row, column]
    area = float((scan.positions.amax(0) - scan.positions.amin(0) + 1).prod())
    assert raised == pytest.approx(float(0.5 * curvature * mean_square * area), rel=0.1)


def test_ptychography_does_not_look_beyond_its_patterns(scan):
    """Patterns of a flat object give a flat image, whatever the positions."""
    flat = diffraction_pattern(scan.light.probe, torch.zeros(32, 32, dtype=torch.float64)).expand(1024, 32, 32)
    fit = reconstruct(scan, 1000 * flat, 1000.0, iterations=2)
    assert float(fit.image.phase[fit.image.coverage > 0].abs().max()) < 1e-3
