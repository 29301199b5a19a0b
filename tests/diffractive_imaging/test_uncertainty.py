"""Standard errors of stitched images, their calibration and their coverage."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.diffractive_imaging import scanned, settings
from workflow_scripts.diffractive_imaging.evaluation import comparison, metrics
from workflow_scripts.diffractive_imaging.evaluation.transfer import white_noise_scan
from workflow_scripts.diffractive_imaging.networks import imaging
from workflow_scripts.diffractive_imaging.networks.stitching import (
    Stitched,
    least_squares,
    standard_error,
    to_object_pixels,
)
from workflow_scripts.diffractive_imaging.simulation import datasets, forward
from workflow_scripts.study.predictions import write_predictions
from workflow_scripts.workflow.files import read_all_arrays


@pytest.fixture(scope="module")
def light():
    synthesize = settings.synthesize()
    return datasets.illumination(synthesize.probe, synthesize.dose_e, None)


def noisy_image(light, noise_rad):
    """Stitched patches of white noise, each drawn anew: image and spread."""
    perfect = white_noise_scan(24, 0.87, 0.1, light.n, seed=0)
    noise = torch.randn(perfect.patches_rad.shape, generator=torch.Generator().manual_seed(0))
    patches = noise_rad * noise
    image = least_squares(patches, perfect.positions_px, light.patch_weights())
    spread = standard_error(image, patches, perfect.positions_px, light.patch_weights())
    return image, spread.numpy()


def test_the_spread_is_proportional_to_the_noise_and_lies_on_object_pixels(light):
    (image, once), (_, twice) = noisy_image(light, 0.1), noisy_image(light, 0.2)
    assert once.shape == tuple(image.to_object_pixels().shape)
    valid = np.isfinite(once)
    assert valid.mean() > 0.7
    np.testing.assert_allclose(twice[valid], 2 * once[valid], rtol=1e-4)
    # About ten patches lie on a pixel, so the mean is about three times better than a patch.
    assert np.nanmedian(once) == pytest.approx(0.1 / 3, rel=0.4)


def test_a_single_patch_has_no_spread(light):
    patch = torch.randn(1, light.n, light.n, generator=torch.Generator().manual_seed(0))
    at = torch.zeros(1, 2, dtype=torch.float64)
    image = least_squares(patch, at, light.patch_weights())
    assert standard_error(image, patch, at, light.patch_weights()).isnan().all()


@given(st.floats(0.1, 10), st.integers(0, 100))
def test_normal_errors_are_calibrated_by_their_scale(scale, seed):
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.5, 2, (200, 200))
    calibrating, testing = (scale * spread * rng.standard_normal(spread.shape) for _ in range(2))
    zero = np.zeros_like(spread)
    factor = metrics.calibration_factor(metrics.relative_error(calibrating, zero, spread))
    assert factor == pytest.approx(scale, rel=0.03)
    shares = [
        metrics.covered_share(metrics.relative_error(times * testing, zero, spread), factor) for times in (0.5, 1, 2)
    ]
    assert shares == pytest.approx([0.954, 0.683, 0.383], abs=0.015)


def test_the_gauge_and_pixels_without_spread_do_not_count():
    spread = np.ones((4, 4))
    spread[0, 0] = np.nan
    truth = np.arange(16.0).reshape(4, 4)
    image = truth + 5
    image[0, 0] = 1e6
    relative = metrics.relative_error(image, truth, spread)
    assert relative.shape == (15,) and np.allclose(relative, 0)


def noisy_truths(fine_objects, errors_rad):
    """An estimator that returns the objects (H, W) in turn, with white noise of these sizes on object pixels."""
    objects, rng = iter(zip(fine_objects, errors_rad, strict=True)), np.random.default_rng(0)

    def reconstruct(scan, dose_e):
        fine, error = next(objects)
        small = to_object_pixels(fine, forward.UPSAMPLING)
        noise = error * torch.from_numpy(rng.standard_normal(small.shape))
        noisy = fine + torch.kron(noise, torch.ones(forward.UPSAMPLING, forward.UPSAMPLING))
        image = Stitched(noisy, torch.ones_like(noisy), (0, 0), forward.UPSAMPLING, 1)
        return imaging.image_arrays(image) | {"spread_rad": np.full(small.shape, 0.1, np.float32)}

    return reconstruct


def test_the_factor_comes_from_the_calibration_scan_alone(tmp_path):
    test = scanned.write_test_file(tmp_path / "test.npz", points=16)
    arrays = read_all_arrays(test)
    assert datasets.CALIBRATION not in arrays["scans"]
    names = [*arrays["scans"].tolist(), datasets.CALIBRATION]
    errors = {names[0]: 0.6, datasets.STEP_EDGE: 0.15, datasets.CALIBRATION: 0.3}
    fine_objects = [torch.from_numpy(arrays[f"{name}.phase_rad"]).double() for name in names]
    estimator = noisy_truths(fine_objects, [errors[name] for name in names])
    images = imaging.predict_scans(estimator, "fitted", test, calibration=True)
    write_predictions(tmp_path / "ridge.npz", "ridge", 0, images)
    truth = comparison.read_truth(test)
    predictions = list(comparison.predictions_of(tmp_path / "ridge.npz", truth))
    rows = metrics.coverage_rows(truth, predictions, settings.evaluate())
    values = {(row["metric"], row["condition"]): row["value"] for row in rows}
    where = "dose_e=27882;object={};phase_std_rad=0.5"
    shares = [values["coverage_68", where.format(name)] for name in ("photograph", "step_edge")]
    assert shares == pytest.approx([0.383, 0.954], abs=0.05)
    assert values["calibration_factor", where.format("calibration")] > 1
    assert not any("calibration" in condition for metric, condition in values if metric == "coverage_68")
    errors = metrics.metric_rows(truth, predictions, settings.evaluate())
    assert not any("calibration" in row["condition"] for row in errors)


def test_an_estimator_without_spread_has_no_coverage(tmp_path):
    truth = comparison.read_truth(scanned.write_test_file(tmp_path / "test.npz", points=16))
    assert not list(metrics.coverage_rows(truth, [comparison.predict_zeros(truth)], settings.evaluate()))
