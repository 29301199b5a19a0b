"""Perturbed scans and what they cost."""

import math

import numpy as np
import pytest
import torch

from tests.diffractive_imaging import scanned, settings
from workflow_scripts.diffractive_imaging.evaluation import comparison, metrics
from workflow_scripts.diffractive_imaging.networks import imaging
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation import perturbations
from workflow_scripts.diffractive_imaging.simulation.perturbations import PERTURBATIONS
from workflow_scripts.optics.probe import make_probe
from workflow_scripts.study.predictions import write_predictions
from workflow_scripts.workflow.files import read_all_arrays

DOSE_E = 1e8  # so that noise does not matter


@pytest.fixture(scope="module")
def scan():
    return scanned.scan(points=16)


def counted(name, scan, fine=None):
    experiment = scan.light.probe, scan.light.pixel_size_a, 80.0, scan.fine if fine is None else fine, scan.positions
    return perturbations.simulate(name, *experiment, DOSE_E, torch.Generator().manual_seed(0)) / DOSE_E


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
    assert 0.005 < float(change) < 1  # shot noise: 0.002


@pytest.mark.parametrize("name", ["rotation_3deg", "source_0.5px"])
def test_without_an_object_neither_rotation_nor_source_show(scan, name):
    patterns = counted(name, scan, torch.zeros_like(scan.fine))
    assert float((patterns - patterns[0]).abs().max()) < 1e-4


def test_a_source_adds_the_moments_of_a_gaussian():
    nodes = perturbations._NODES
    moments = [sum(weight * node**power for node, weight in nodes) for power in range(6)]
    assert moments == pytest.approx([1, 0, 1, 0, 3, 0])
    assert perturbations.SOURCE_RMS_PX * math.sqrt(3) < 1


def test_rows_compare_the_first_photograph_with_and_without(tmp_path):
    paths = {on: scanned.write_test_file(tmp_path / f"{on}.npz", points=16, perturbed=on) for on in (False, True)}
    by_switch = {on: read_all_arrays(path) for on, path in paths.items()}
    assert all(
        np.array_equal(by_switch[False][key], by_switch[True][key])
        for key in by_switch[False]
        if key != "perturbations"
    )
    # Finetuning reads none of them.
    assert not set(PERTURBATIONS) & set(by_switch[True]["scans"].tolist())
    truth = comparison.read_truth(paths[True])
    calls = []

    def reconstruct(scan, dose_e):
        """The truth of the first scan, an edge in place of all others."""
        calls.append(dose_e)
        fine = by_switch[True][f"{by_switch[True]['scans'][0]}.phase_rad"]
        image = torch.from_numpy(fine) if len(calls) == 1 else torch.zeros(fine.shape).index_fill(0, torch.arange(4), 1)
        return imaging.image_arrays(Stitched(image, torch.ones_like(image), (0, 0), 4, 1))

    arrays = imaging.predict_scans(reconstruct, "fitted", paths[True])
    assert len(calls) == 2 + len(PERTURBATIONS)
    unperturbed = imaging.predict_scans(reconstruct, "fitted", paths[True], perturbed=False)
    assert not any("perturbation" in where for _, where in unperturbed)
    write_predictions(tmp_path / "p.npz", "ptychography", 0, arrays)
    (prediction,) = comparison.predictions_of(tmp_path / "p.npz", truth)
    rows = metrics.metric_rows(truth, [prediction], settings.evaluate())
    errors = {row["condition"]: row["value"] for row in rows if "perturbation" in row["condition"]}
    where = "dose_e=27882;object=photograph;perturbation={};phase_std_rad=0.5"
    assert set(errors) == {where.format(name) for name in ("none", *PERTURBATIONS)}
    assert errors[where.format("none")] == pytest.approx(0, abs=1e-6)
    assert all(errors[where.format(name)] > 0.3 for name in PERTURBATIONS)
