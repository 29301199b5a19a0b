"""Reduced χ² of images against counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.diffractive_imaging import scanned, settings
from workflow_scripts.diffractive_imaging.evaluation import comparison, goodness_of_fit
from workflow_scripts.diffractive_imaging.networks.stitching import to_object_pixels
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.optics.noise import poisson_counts
from workflow_scripts.study.conditions import parse_condition

DOSE_E = 27882.0


@pytest.fixture(scope="module")
def known_scan():
    """A scan of a known object: the counts of its inner patterns, and the truth in object pixels."""
    scan = scanned.scan(points=50)
    inner = goodness_of_fit.inner_patterns(scan.positions, scan.light.n, seed=0)
    counts = poisson_counts(scan.patterns[inner], DOSE_E, torch.Generator().manual_seed(0))
    image = to_object_pixels(scan.fine, forward.UPSAMPLING).numpy()
    return scan, scan.positions[inner], counts, image


def chi_square(known_scan, image, origin=(0, 0)):
    scan, positions, counts, _ = known_scan
    return goodness_of_fit.chi_square_reduced(image, origin, counts, positions, scan.light, DOSE_E)


def test_the_truth_explains_the_counts_and_nothing_else_does(known_scan):
    image = known_scan[3]
    assert chi_square(known_scan, image) == pytest.approx(1, abs=0.03)
    assert chi_square(known_scan, image.T) > 2
    assert chi_square(known_scan, 0 * image) > 2


def test_it_depends_on_the_origin_of_the_image_and_not_on_its_gauge(known_scan):
    image = known_scan[3]
    assert chi_square(known_scan, image + 1) == pytest.approx(chi_square(known_scan, image), abs=1e-3)
    assert chi_square(known_scan, image[2:, 1:], (2, 1)) == pytest.approx(chi_square(known_scan, image), abs=0.01)
    assert chi_square(known_scan, image, (2, 1)) > 1.2


def test_worse_images_fit_worse(known_scan):
    image = known_scan[3]
    noise = np.random.default_rng(0).standard_normal(image.shape)
    values = [chi_square(known_scan, image + error * noise) for error in (0, 0.02, 0.05, 0.1)]
    assert values == sorted(values) and values[-1] > 1.2


def test_inner_patterns_keep_a_window_from_the_rim_and_are_the_same_again():
    positions = scanned.scan(points=50).positions
    inner = goodness_of_fit.inner_patterns(positions, 16, seed=0)
    assert len(inner) == goodness_of_fit.PATTERNS == len(set(inner.tolist()))
    assert torch.equal(inner, goodness_of_fit.inner_patterns(positions, 16, seed=0))
    margin = torch.minimum(positions[inner] - positions.amin(0), positions.amax(0) - positions[inner])
    assert float(margin.min()) >= 10
    assert len(goodness_of_fit.inner_patterns(positions[:9], 16, seed=0)) == 0


def test_rows_name_object_and_dose_and_leave_out_what_has_too_few_electrons(tmp_path):
    test = scanned.write_test_file(tmp_path / "test.npz", points=48, test_dose_e=[DOSE_E, 279.0])
    truth = comparison.read_truth(test)
    zeros = comparison.predict_zeros(truth)
    perfect = {
        where: replace(images, image_rad=np.array(truth.images_rad[parse_condition(where)["object"]]))
        for where, images in zeros.images.items()
    }
    prediction = replace(zeros, estimator="corrected", seed=0, stage="pretrain", images=perfect)
    rows = list(goodness_of_fit.chi_square_rows(test, truth, [prediction], settings.evaluate()))
    assert [row["condition"] for row in rows] == [
        "dose_e=27882;object=photograph;phase_std_rad=0.5;stage=pretrain",
        "dose_e=27882;object=step_edge;phase_std_rad=0.5;stage=pretrain",
    ]
    # The test file's detector is transposed; oriented counts fit.
    assert [row["value"] for row in rows] == pytest.approx([1, 1], abs=0.03)
