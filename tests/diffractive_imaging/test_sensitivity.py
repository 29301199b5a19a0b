"""Perturbed scans and what they cost."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.diffractive_imaging import scanned, settings
from workflow_scripts.diffractive_imaging.evaluation import comparison, metrics
from workflow_scripts.diffractive_imaging.networks import imaging
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation import datasets, perturbations
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


@pytest.mark.parametrize("name", ["rotation_3deg", "positions_0.3px", "source_0.5px"])
def test_without_an_object_neither_places_nor_source_show(scan, name):
    patterns = counted(name, scan, torch.zeros_like(scan.fine))
    assert float((patterns - patterns[0]).abs().max()) < 1e-4


def test_a_source_adds_the_moments_of_a_gaussian():
    nodes = perturbations._NODES
    moments = [sum(weight * node**power for node, weight in nodes) for power in range(6)]
    assert moments == pytest.approx([1, 0, 1, 0, 3, 0])
    assert perturbations.SOURCE_RMS_PX * math.sqrt(3) < 1


def test_rows_compare_the_first_photograph_with_and_without(tmp_path):
    paths = {on: scanned.write_test_file(tmp_path / f"{on}.npz", points=16, perturbed=on) for on in (0, 1)}
    by_switch = {on: read_all_arrays(path) for on, path in paths.items()}
    assert all(
        np.array_equal(by_switch[False][key], by_switch[True][key])
        for key in by_switch[False]
        if key not in ("perturbations", "perturbed_scans")
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
    perturbed = [row for row in rows if "perturbation" in row["condition"]]
    errors = {row["condition"]: row["value"] for row in perturbed if row["metric"] == "phase_rmse_rad_meanfree"}
    where = "dose_e=27882;object=photograph;perturbation={};phase_std_rad=0.5"
    assert set(errors) == {where.format(name) for name in ("none", *PERTURBATIONS)}
    assert errors[where.format("none")] == pytest.approx(0, abs=1e-6)
    assert all(errors[where.format(name)] > 0.3 for name in PERTURBATIONS)
    relative = {row["condition"]: row["value"] for row in perturbed if row["metric"] == "phase_rmse_relative"}
    std = np.nanstd(truth.images_rad["photograph"][0])
    for name in PERTURBATIONS:
        of_all = relative[f"dose_e=27882;object=all;perturbation={name}"]
        assert of_all == pytest.approx(errors[where.format(name)] / std, rel=0.05)


def test_sparse_scans_are_every_nth_row_and_column_of_the_whole_one(tmp_path):
    test = scanned.write_test_file(tmp_path / "test.npz", points=16, sparse_every=[3], dead_leaves=1)
    whole, sparse = (
        [scans for scans in datasets.scan_sets(test) if scans.where["object"] == "dead_leaves" and scans.every == every]
        for every in (1, 3)
    )
    assert sparse[0].where == {"object": "dead_leaves", "dose_e": 27882, "phase_std_rad": 0.5, "step_px": 2.61}
    (full,), (thin,) = whole[0].read(test), sparse[0].read(test)
    assert len(thin.counts) == 36
    assert torch.equal(thin.counts.reshape(6, 6, 32, 32), full.counts.reshape(16, 16, 32, 32)[::3, ::3])
    assert torch.equal(thin.positions_px.reshape(6, 6, 2), full.positions_px.reshape(16, 16, 2)[::3, ::3])

    truth = comparison.read_truth(test)
    zeros = comparison.predict_zeros(truth)
    # Where no patches overlap no spread is known; nor is it at the rim.
    spread = {}
    for where, images in zeros.images.items():
        spread_rad = np.full(images.image_rad.shape, np.nan)
        spread_rad[:, 5:-5, 5:-5] = np.nan if "step_px" in where else 1.0
        spread[where] = replace(images, spread_rad=spread_rad)
    covered = list(metrics.coverage_rows(truth, [replace(zeros, images=spread)], settings.evaluate()))
    assert covered and all(np.isfinite(row["value"]) for row in covered)
    rows = metrics.metric_rows(truth, [zeros], settings.evaluate())
    values = {(row["metric"], row["condition"]): row["value"] for row in rows}
    for place in ("dose_e=27882;object=all", "dose_e=27882;object=all;step_px=2.61"):
        assert values["phase_rmse_relative", place] == pytest.approx(1)
    doses = [values["areal_dose", f"dose_e=27882;phase_std_rad=0.5{step}"] for step in ("", ";step_px=2.61")]
    assert doses[0] == pytest.approx(27882 / (0.87 * truth.light.pixel_size_a) ** 2)
    assert doses[0] == pytest.approx(9 * doses[1])


def test_dead_leaves_do_not_depend_on_the_number_of_other_scans(tmp_path):
    one, two = (
        read_all_arrays(scanned.write_test_file(tmp_path / f"{n}.npz", points=16, dead_leaves=n)) for n in (1, 2)
    )
    common = [key for key in one if key not in ("scans", "scan_objects")]
    assert all(np.array_equal(one[key], two[key]) for key in common)
    assert not np.array_equal(two["dead_leaves_1.phase_rad"], two["dead_leaves_2.phase_rad"])
