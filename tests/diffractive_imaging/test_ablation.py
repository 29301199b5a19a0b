"""One fault at a time: the arms, what is predicted with them, and the rows that come of it."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests.diffractive_imaging import settings
from workflow_scripts.diffractive_imaging import datasets, evaluation
from workflow_scripts.diffractive_imaging.ablation import Ablation, metric_rows, read_ablation
from workflow_scripts.diffractive_imaging.imaging import predict_ablation
from workflow_scripts.diffractive_imaging.model import make_network
from workflow_scripts.diffractive_imaging.sources import photographs
from workflow_scripts.diffractive_imaging.variants import ABLATIONS, ARMS, IMAGE_FAULTS, VARIANTS, with_fault
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.study.tables import HEADLINE, read_metrics, write_metrics
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A test file, and untrained weights."""
    folder = tmp_path_factory.mktemp("ablation")
    given = settings.synthesize(dose_e=27882.0, test_dose_e=[279.0, 27882.0])
    light = datasets.illumination(given.probe, given.dose_e, None)
    made = datasets.test_set(given, light, photographs(None, "test"), np.random.default_rng(0))
    write_arrays(folder / "test.npz", made)
    about = {"n": light.n, "network": settings.network().model_dump(mode="json")}
    network = make_network(light.n, settings.network(), seed=0)
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    save_weights(state, folder / "weights.safetensors", about)
    return folder


def predicted(folder, fault):
    path = folder / f"{fault}.npz"
    write_arrays(
        path, predict_ablation(folder / "test.npz", folder / "weights.safetensors", fault, 3, CPU, "float32", 64)
    )
    return {ablation.fault: ablation for ablation in read_ablation(path)}


def test_every_arm_has_its_one_fault_alone():
    for arm, fault in ABLATIONS.items():
        present = {field.name for field in fields(ARMS[arm]) if getattr(ARMS[arm], field.name)}
        assert present == {fault} - {"none"}
    assert {with_fault(fault) for fault in IMAGE_FAULTS} == {
        replace(VARIANTS["corrected"], **{fault: True}) for fault in ("damped_stitching", "axes_exchanged")
    }


def test_faults_of_the_image_come_with_the_weights_without_any(folder):
    found = predicted(folder, "none")
    assert list(found) == ["none", "damped_stitching", "axes_exchanged"]
    assert list(predicted(folder, "noise_drawn_once")) == ["noise_drawn_once"]
    assert found["none"].patches_rad.shape[:3] == (1, 2, 16)
    assert found["damped_stitching"].patches_rad is None
    images = [next(iter(found[fault].images_rad.values())) for fault in found]
    assert all(np.nanstd(image) > 0 for image in images)
    smallest = [min(sides) for sides in zip(*(image.shape for image in images), strict=True)]
    none, damped, exchanged = (np.nan_to_num(image[: smallest[0], : smallest[1]]) for image in images)
    assert not np.allclose(none, damped, atol=1e-3)
    assert not np.allclose(none, exchanged, atol=1e-3)


def test_an_input_without_normalisation_depends_on_the_dose(folder):
    none, drawn_once = (predicted(folder, fault)[fault].patches_rad for fault in ("none", "noise_drawn_once"))
    assert not np.allclose(none, drawn_once, atol=1e-3)


def test_the_truth_scores_perfectly_and_every_row_names_its_fault(folder, tmp_path):
    truth = evaluation.read_truth(folder / "test.npz")
    name = datasets.photograph_names(folder / "test.npz")[0]
    mean_free = truth.patches_rad - truth.patches_rad.mean(axis=2, keepdims=True)
    perfect = Ablation(
        "target_keeps_mean",
        3,
        np.stack([mean_free, np.zeros_like(mean_free)], axis=1),
        {name: truth.images_rad[name][5:20, 4:]},
        {name: (5, 4)},
    )
    rows = metric_rows(truth, perfect, settings.evaluate())
    values = {(row["metric"], row["condition"]): row["value"] for row in rows}
    where = "fault=target_keeps_mean"
    assert values == pytest.approx(
        {
            ("patch_r2", f"dose_e=279;{where};phase_std_rad=0.5"): 1.0,
            ("patch_r2", f"dose_e=27882;{where};phase_std_rad=0.5"): 0.0,
            ("phase_rmse_rad_meanfree", f"dose_e=27882;{where};object=photograph;phase_std_rad=0.5"): 0.0,
        },
        abs=1e-6,
    )
    # They stand beside the corrected arm's own rows; its headlines stay what they are.
    own = replace(evaluation.predict_zeros(truth), estimator="corrected", seed=3)
    everything = evaluation.metric_rows(truth, [own], [], settings.evaluate()) + rows
    write_metrics(everything, tmp_path / "metrics.csv")
    table = read_metrics(tmp_path / "metrics.csv")
    headline = table[(table["condition"] == HEADLINE) & (table["metric"] == "patch_r2")]
    assert headline["value"].tolist() == [0.0]


def test_a_file_of_another_stage_is_refused(folder):
    with pytest.raises(InputError, match="lacks"):
        list(read_ablation(folder / "test.npz"))
