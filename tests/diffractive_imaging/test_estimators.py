"""Every entry of estimators.yaml has its module, a baseline needs no more than that, and what is missing is named."""

import importlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import workflow_scripts.diffractive_imaging
from tests.diffractive_imaging import scanned, settings, toy_baseline
from workflow_scripts.diffractive_imaging import plot
from workflow_scripts.diffractive_imaging.evaluation import comparison, examples, metrics
from workflow_scripts.diffractive_imaging.settings import Predict
from workflow_scripts.diffractive_imaging.simulation import datasets
from workflow_scripts.study.estimators import FILE, Estimator, read_registry
from workflow_scripts.study.figures import style
from workflow_scripts.study.predictions import write_predictions
from workflow_scripts.study.tables import read_metrics, write_metrics
from workflow_scripts.workflow.errors import InputError

REGISTRY = read_registry(f"{workflow_scripts.diffractive_imaging.__path__[0]}/{FILE}")
CPU = torch.device("cpu")


def module_of(name):
    return importlib.import_module(f"workflow_scripts.diffractive_imaging.estimators.{REGISTRY[name].module}")


@pytest.mark.parametrize("name", REGISTRY.named("arm", "baseline", "ablation"))
def test_every_entry_has_its_module_and_its_settings(name):
    module = module_of(name)
    assert callable(module.predict)
    section = Predict.model_fields.get(REGISTRY[name].settings)
    assert getattr(module, "Options", None) is (section and section.annotation)


@pytest.mark.parametrize("name", ["ridge", "corrected", "only_none"])
def test_a_missing_input_is_named(name, tmp_path):
    job = scanned.job(tmp_path / "test.npz", estimator=name, module=REGISTRY[name].module)
    with pytest.raises(InputError, match=f"needs --{REGISTRY[name].needs[0]}, which is missing"):
        module_of(name).predict(job, CPU)


def test_the_network_refuses_an_arm_that_it_does_not_know(tmp_path):
    weights = {"pretrained": tmp_path / "weights", "finetuned": tmp_path / "weights"}
    job = scanned.job(tmp_path / "test.npz", weights, estimator="ridge", module="network")
    with pytest.raises(InputError, match="--estimator is ridge, but its module has the arms published, corrected"):
        module_of("corrected").predict(job, CPU)


def test_a_new_baseline_is_in_every_panel_of_all_estimators(tmp_path):
    test = scanned.write_test_file(tmp_path / "test.npz", points=24)
    toy_predictions = toy_baseline.predict(scanned.job(test), CPU)
    write_predictions(tmp_path / "toy.npz", "toy_baseline", 0, toy_predictions)
    truth = comparison.read_truth(test)
    predictions = [comparison.predict_zeros(truth), *comparison.predictions_of(tmp_path / "toy.npz", truth)]
    rows = metrics.with_headlines(metrics.metric_rows(truth, predictions, settings.evaluate()), truth)
    write_metrics(rows, tmp_path / "metrics.csv")
    table_of_metrics = read_metrics(tmp_path / "metrics.csv")
    r2 = table_of_metrics[table_of_metrics["metric"] == "patch_r2"].set_index("estimator")["value"]
    assert r2["toy_baseline"] == r2["zeros"] == 0

    images = examples.example_images(test, truth, predictions[1:])
    registry = type(REGISTRY)({"toy_baseline": Estimator(kind="classical", label="toy"), **REGISTRY})
    transfer = pd.DataFrame({"estimator": ["corrected"], "scan": "default", "period_px": 5.0, "transfer": 1.0})
    table = plot.patch_table(table_of_metrics, transfer)
    with style():
        figures = [
            plot.draw_patches(table, images, registry),
            plot.draw_scans(plot.scan_table(table_of_metrics), images, registry),
        ]
    counts = SimpleNamespace(titles=0, legends=0)
    for axis in (axis for figure in figures for axis in figure.get_axes()):
        counts.titles += axis.get_title().startswith("toy_baseline")
        counts.legends += axis.get_legend_handles_labels()[1][:1] == ["toy_baseline"]
    assert (counts.titles, counts.legends) == (3, 3)  # patches and two scans; R², photographs and step edge


def test_predictions_for_another_test_file_are_refused(tmp_path):
    test = scanned.write_test_file(tmp_path / "test.npz", points=16)
    truth = comparison.read_truth(test)
    where = "dose_e=27882;phase_std_rad=0.5"
    by_message = {
        "has no data for the condition dose_e=3": {"dose_e=3;phase_std_rad=0.5": {"patches_rad": np.zeros((16, 145))}},
        "the test file needs": {where: {"patches_rad": np.zeros((16, 1))}},
        r"image_rad is \(2, 4, 4\), but the test file needs": {
            f"{where.split(';')[0]};object=step_edge;phase_std_rad=0.5": {
                "image_rad": np.zeros((2, 4, 4)),
                "origin_px": np.zeros((1, 2), int),
            }
        },
    }
    for message, parts in by_message.items():
        write_predictions(tmp_path / "p.npz", "ridge", 0, {("fitted", key): value for key, value in parts.items()})
        with pytest.raises(InputError, match=message):
            list(comparison.predictions_of(tmp_path / "p.npz", truth))
    assert datasets.CALIBRATION in truth.images_rad
