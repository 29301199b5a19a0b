"""Perturbed scans and what they cost."""

import math

import numpy as np
import pytest
import torch

from tests.diffractive_imaging import scanned, settings
from workflow_scripts.diffractive_imaging import datasets, evaluation, imaging, perturbations, sensitivity
from workflow_scripts.diffractive_imaging.perturbations import PERTURBATIONS
from workflow_scripts.diffractive_imaging.photographs import large_enough
from workflow_scripts.diffractive_imaging.sources import photographs
from workflow_scripts.diffractive_imaging.stitching import Stitched
from workflow_scripts.diffractive_imaging.variants import VARIANTS
from workflow_scripts.optics.probe import make_probe
from workflow_scripts.workflow.files import write_arrays

DOSE_E = 1e8  # so that noise does not matter


@pytest.fixture(scope="module")
def scan():
    return scanned.scan(points=16)


def counted(name, scan, fine=None):
    given = scan.light.probe, scan.light.pixel_size_a, 80.0, scan.fine if fine is None else fine, scan.positions
    return perturbations.simulate(name, *given, DOSE_E, torch.Generator().manual_seed(0)) / DOSE_E


def test_more_defocus_is_the_probe_made_with_it(scan):
    probe = settings.synthesize().probe
    common = probe.detector_px, probe.voltage_kv, probe.semiangle_mrad, probe.aperture_radius_px
    skirt = probe.skirt_amplitude, probe.skirt_decay_px
    expected = make_probe(*common, probe.defocus_a + 20, probe.cs_mm, *skirt)
    assert torch.allclose(perturbations.defocused(scan.light.probe, 20.0, scan.light.pixel_size_a, 80.0), expected)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_keeps_the_dose_and_changes_the_patterns(scan, name):
    patterns = counted(name, scan)
    assert patterns.shape == scan.patterns.shape
    assert torch.allclose(patterns.sum((1, 2)), torch.ones(len(patterns), dtype=patterns.dtype), atol=1e-3)
    change = (patterns - scan.patterns).abs().sum((1, 2)).mean()
    assert 0.005 < float(change) < 1  # shot noise alone: 0.002


@pytest.mark.parametrize("name", ["rotation_3deg", "source_0.5px"])
def test_without_an_object_neither_rotation_nor_source_show(scan, name):
    patterns = counted(name, scan, torch.zeros_like(scan.fine))
    assert float((patterns - patterns[0]).abs().max()) < 1e-4


def test_a_source_adds_the_moments_of_a_gaussian():
    nodes = perturbations._NODES
    moments = [sum(weight * node**power for node, weight in nodes) for power in range(6)]
    assert moments == pytest.approx([1, 0, 1, 0, 3, 0])
    assert perturbations.SOURCE_RMS_PX * math.sqrt(3) < 1


class Flat:
    """An imager that sees nothing and counts how often it is asked."""

    has_spread = False

    def __init__(self, shape):
        self.asked, self._shape = 0, shape

    def __call__(self, counts, positions_px, dose_e):
        self.asked += 1
        flat = torch.full(self._shape, float(self.asked - 1))
        flat[0] += 1
        return Stitched(flat, torch.ones(self._shape), (0, 0), 4, 1, 0.0), None


def test_rows_compare_the_first_photograph_with_and_without(tmp_path):
    given = settings.synthesize()
    points = given.scan.model_dump(mode="json") | {"points": 16}
    light = datasets.illumination(given.probe, given.dose_e, None)
    chosen = large_enough(photographs(None, "test"), 2 * light.n)
    test, answers = tmp_path / "test.npz", tmp_path / "ridge.npz"
    made = {}
    for perturbed in (False, True):
        changed = settings.synthesize(scan=points | {"perturbed": perturbed})
        made[perturbed] = datasets.test_set(changed, light, chosen, np.random.default_rng(0))
    assert all(np.array_equal(made[False][key], made[True][key]) for key in made[False] if key != "perturbations")
    # What finetuning reads holds none of them.
    assert not set(PERTURBATIONS) & set(made[True]["scans"].tolist())
    write_arrays(test, made[True])
    truth = evaluation.read_truth(test)
    scan = made[True]["scans"][0]
    imager = Flat(tuple(made[True][f"{scan}.phase_rad"].shape))
    images = imaging.perturbed_images(imager, "ridge", "fitted", test, VARIANTS["corrected"])
    assert imager.asked == len(PERTURBATIONS) == len(images)
    for estimator, stage in (("published", "pretrained"), ("corrected", "finetuned"), ("dpc", "imaged")):
        assert not imaging.perturbed_images(imager, estimator, stage, test, VARIANTS["corrected"])
    usual = {f"fitted.{scan}.image_rad": truth.images_rad[scan][None], f"fitted.{scan}.origin_px": np.array([0, 0])}
    write_arrays(answers, images | usual | {"estimator": "ridge", "seed": 0, "stages": ["fitted"]})
    rows = list(sensitivity.sensitivity_rows(test, truth, [answers]))
    errors = {row["condition"]: row["value"] for row in rows}
    where = "dose_e=27882;object=photograph;perturbation={};phase_std_rad=0.5"
    assert set(errors) == {where.format(name) for name in ("none", *PERTURBATIONS)}
    assert errors[where.format("none")] == pytest.approx(0, abs=1e-6)
    assert all(errors[where.format(name)] > 0.3 for name in PERTURBATIONS)
