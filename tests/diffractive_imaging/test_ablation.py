"""One fault at a time: the arms, what is predicted with them, and the rows that come of it."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests.diffractive_imaging import scanned, settings
from workflow_scripts.diffractive_imaging.estimators import network as network_estimator
from workflow_scripts.diffractive_imaging.evaluation import comparison, metrics
from workflow_scripts.diffractive_imaging.networks.model import make_network
from workflow_scripts.diffractive_imaging.settings import ABLATIONS, ARMS, IMAGE_FAULTS, VARIANTS, with_fault
from workflow_scripts.diffractive_imaging.simulation import datasets
from workflow_scripts.diffractive_imaging.simulation.sources import photographs
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.study.tables import headline_numbers, read_metrics, write_metrics
from workflow_scripts.workflow.files import write_arrays

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A test file, and untrained weights."""
    folder = tmp_path_factory.mktemp("ablation")
    synthesize = settings.synthesize(dose_e=27882.0, test_dose_e=[279.0, 27882.0])
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    arrays = datasets.test_set(synthesize, light, photographs(None, "test"), np.random.default_rng(0))
    write_arrays(folder / "test.npz", arrays)
    metadata = {"n": light.n, "network": settings.network().model_dump(mode="json")}
    network = make_network(light.n, settings.network(), seed=0)
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    save_weights(state, folder / "weights.safetensors", metadata)
    return folder


def predicted(folder, fault):
    """Predictions of the untrained weights, by condition."""
    job = scanned.job(
        folder / "test.npz", {"pretrained": folder / "weights.safetensors"}, estimator=f"only_{fault}", training_seed=3
    )
    predictions = network_estimator.predict(job, CPU)
    assert {stage for stage, _ in predictions} == {"pretrained"}
    return {where: arrays for (_, where), arrays in predictions.items()}


def test_every_arm_has_its_one_fault_alone():
    for arm, fault in ABLATIONS.items():
        present = {field.name for field in fields(ARMS[arm]) if getattr(ARMS[arm], field.name)}
        assert present == {fault} - {"none"}
    assert {with_fault(fault) for fault in IMAGE_FAULTS} == {
        replace(VARIANTS["corrected"], **{fault: True}) for fault in ("damped_stitching", "axes_exchanged")
    }


def test_faults_of_the_image_come_with_the_weights_without_any(folder):
    predictions = predicted(folder, "none")
    faults = ("none", "damped_stitching", "axes_exchanged")
    patches = [f"dose_e={dose};fault=none;phase_std_rad=0.5" for dose in (279, 27882)]
    scans = [f"dose_e=27882;fault={fault};object=photograph;phase_std_rad=0.5" for fault in faults]
    assert list(predictions) == [*patches, *scans]
    assert all(predictions[where]["patches_rad"].shape[0] == 16 for where in patches)
    assert not any("none" in where for where in predicted(folder, "noise_drawn_once"))
    images = [predictions[where]["image_rad"][0] for where in scans]
    assert all(np.nanstd(image) > 0 for image in images)
    smallest = [min(sides) for sides in zip(*(image.shape for image in images), strict=True)]
    none, damped, exchanged = (np.nan_to_num(image[: smallest[0], : smallest[1]]) for image in images)
    assert not np.allclose(none, damped, atol=1e-3)
    assert not np.allclose(none, exchanged, atol=1e-3)


def test_an_input_without_normalisation_depends_on_the_dose(folder):
    none, drawn_once = (
        predicted(folder, fault)[f"dose_e=279;fault={fault};phase_std_rad=0.5"]["patches_rad"]
        for fault in ("none", "noise_drawn_once")
    )
    assert not np.allclose(none, drawn_once, atol=1e-3)


def test_the_truth_scores_perfectly_and_every_row_names_its_fault(folder, tmp_path):
    truth = comparison.read_truth(folder / "test.npz")
    true = truth.patches_rad[0] - truth.patches_rad[0].mean(axis=1, keepdims=True)
    (image, *_) = truth.images_rad["photograph"]
    fault = "fault=target_keeps_mean"
    low, full = (f"dose_e={dose};{fault};phase_std_rad=0.5" for dose in (279, 27882))
    scan = f"dose_e=27882;{fault};object=photograph;phase_std_rad=0.5"
    perfect = comparison.Prediction(
        "corrected",
        3,
        None,
        {low: true, full: np.zeros_like(true)},
        {scan: comparison.Images(image[None, 5:20, 4:], [(5, 4)])},
    )
    rows = metrics.metric_rows(truth, [perfect], settings.evaluate())
    values = {(row["metric"], row["condition"]): row["value"] for row in rows if "fault" in row["condition"]}
    expected = {("patch_r2", low): 1.0, ("patch_r2", full): 0.0, ("phase_rmse_rad_meanfree", scan): 0.0}
    assert values == pytest.approx(expected, abs=1e-6)
    # The corrected arm has the same rows and headlines as without the ablation.
    without_fault = replace(comparison.predict_zeros(truth), estimator="corrected", seed=3)
    everything = metrics.metric_rows(truth, [without_fault, perfect], settings.evaluate())
    write_metrics(metrics.with_headlines(everything, truth), tmp_path / "metrics.csv")
    headline = headline_numbers(read_metrics(tmp_path / "metrics.csv"))
    assert headline.set_index(["estimator", "metric"])["value"]["corrected", "patch_r2"] == 0
