"""The stages predict, evaluate and plot one after the other on toy samples, and what their figures hold."""

import numpy as np
import pandas as pd
import pytest

from tests.potential.predicting import REGISTRY, REGISTRY_FILE, TOY_ENTRY, predict_job, weights
from tests.potential.toy import toy_samples
from workflow_scripts.potential import evaluate, plot
from workflow_scripts.potential.predict import predict
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.predictions import read_predictions
from workflow_scripts.study.tables import headline_numbers, read_metrics, under
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.files import read_all_arrays, write_arrays
from workflow_scripts.workflow.settings import check

AVERAGES = ("icom_lattice", "ridge_lattice", "corrected_lattice")
BASELINES = ("icom", "metadata_mean", "ridge", "toy_baseline")
EVALUATE = {
    "ablations": ["joint_minmax"],
    "headline_dose_e_per_a2": 1e5,
    "headline_thickness_nm": 40.0,
    "bootstrap_samples": 100,
    "convergence": {
        "material": "SrTiO3",
        "field_a": [4.0, 8.0],
        "thickness_nm": [2.0, 4.0],
        "pixel_a": [0.16, 0.12],
        "pixel_thickness_nm": [2.0],
    },
    "seed": 0,
    "held_out_material": "GaN",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of all outputs: metrics, examples, cells and the figures."""
    folder = tmp_path_factory.mktemp("stages")
    shards, test = [folder / "shard0.npz"], [folder / "test.npz"]
    write_arrays(shards[0], toy_samples(2, 32, seed=0).arrays())
    write_arrays(test[0], toy_samples(2, 32, seed=9).arrays())
    published, corrected = ([weights(folder, arm)] for arm in ("published", "corrected"))
    jobs = [predict_job(folder, name, test=test, shards=shards) for name in BASELINES]
    jobs.append(predict_job(folder, "published", test=test, pretrained=published))
    jobs.append(predict_job(folder, "corrected", test=test, pretrained=corrected, finetuned=corrected))
    ablated = predict_job(folder, "only_joint_minmax", test=test, pretrained=corrected)
    for job in (*jobs, ablated):
        predict(job)
    inputs = {
        "test": test,
        "predictions": [job.outputs["predictions"] for job in jobs],
        "ablated": [ablated.outputs["predictions"]],
    }
    outputs = {name: folder / name for name in ("metrics", "by_source", "examples", "cells")}
    evaluate.evaluate(Job(check(evaluate.Arguments, EVALUATE), inputs, outputs, folder))
    registry = folder / "estimators.yaml"
    registry.write_text(REGISTRY_FILE.read_text(encoding="utf-8") + TOY_ENTRY, encoding="utf-8")
    inputs = {name: [path] for name, path in outputs.items()} | {"estimators": [registry]}
    figures = {"svg": folder / "potential.svg", "scale_svg": folder / "potential_scale.svg"}
    plot.plot(Job(check(plot.Arguments, {}), inputs, figures, folder))
    return folder


def test_predictions_hold_every_detector_dose_and_stage_that_the_estimator_knows(done):
    def answered(name):
        file = read_predictions(done / f"{name}.npz")
        conditions = {part.condition for part in file.parts}
        assert len(file.parts) == len(file.stages) * len(conditions)
        return file.stages, conditions

    counted = [{"detector": "ring", "dose_e_per_a2": dose} for dose in (1e4, 1e5)]
    ring = [*counted, {"detector": "ring", "dose_e_per_a2": np.inf}]
    both = [*ring, *(keys | {"detector": "matched"} for keys in ring)]

    def texts(*measured):
        return {condition(**keys) for keys in measured}

    def controls(measured, *changed):
        return [*measured, *({"detector": "ring", "dose_e_per_a2": 1e5} | keys for keys in changed)]

    wrong, shuffled = {"thickness_error_percent": 10.0}, {"metadata": "shuffled"}
    assert answered("ridge") == (["fitted"], texts(*controls(both, wrong)))
    assert answered("corrected") == (["pretrained", "finetuned"], texts(*controls(both, wrong, shuffled)))
    assert answered("published") == (["pretrained"], texts(*controls(ring, wrong, shuffled)))
    assert answered("only_joint_minmax") == (["pretrained"], texts(*counted))


def test_both_figures_come_in_three_formats_with_their_tables(done):
    for name in ("potential", "potential_scale"):
        for kind in ("svg", "pdf", "png", "csv"):
            assert (done / f"{name}.{kind}").stat().st_size > 500, (name, kind)


def test_the_first_figure_shows_the_headline_of_every_estimator(done):
    numbers = headline_numbers(read_metrics(done / "metrics"))
    points = pd.read_csv(done / "potential.csv")
    shown = points[(points["panel"] == "b") & (points["metric"] == "pearson") & (points["materials"] == "seen")]
    assert set(shown["estimator"]) == {"zeros", *BASELINES, "published", "corrected", *AVERAGES}
    for _, row in numbers[numbers["metric"] == "pearson"].iterrows():
        assert shown.set_index("estimator").loc[row["estimator"], "value"] == pytest.approx(row["value"], abs=1e-5)


def test_a_new_baseline_is_in_every_panel_and_every_comparison(done):
    points = pd.concat(
        [pd.read_csv(done / f"{name}.csv").assign(figure=name) for name in ("potential", "potential_scale")]
    )
    shown = points[points["estimator"] == "toy_baseline"]
    assert set(zip(shown["figure"], shown["panel"], strict=True)) == {
        *(("potential", panel) for panel in "bcd"),
        *(("potential_scale", panel) for panel in "ab"),
    }
    assert "toy_baseline" in read_all_arrays(done / "examples")["estimators"]
    assert "pearson_gain_over_toy_baseline" in set(read_metrics(done / "metrics")["metric"])


def test_unseen_is_before_finetuning_and_nobody_who_trained_on_it(done):
    metrics = read_metrics(done / "metrics")
    points = plot.score_points(metrics, REGISTRY)
    unseen = points[(points["panel"] == "b") & (points["materials"] == "unseen") & (points["metric"] == "pearson")]
    assert "published" not in set(unseen["estimator"])
    before = condition(
        detector="ring", dose_e_per_a2=1e5, kind="filled", materials="unseen", stage="pretrain", thickness_max_nm=40.0
    )
    rows = under(metrics, before)
    expected = rows[(rows["estimator"] == "corrected") & (rows["metric"] == "pearson")]["value"].item()
    assert unseen.set_index("estimator").loc["corrected", "value"] == pytest.approx(expected)


def test_curves_hold_every_dose_and_every_thickness_once(done):
    points = pd.read_csv(done / "potential.csv")
    for panel, along, values in (("c", "dose_e_per_a2", {1e4, 1e5, np.inf}), ("d", "thickness_nm", {10.0, 40.0})):
        for _, curve in points[points["panel"] == panel].groupby("estimator"):
            assert sorted(curve[along]) == sorted(values)


def test_the_second_figure_has_both_scales_of_the_same_errors(done):
    points = pd.read_csv(done / "potential_scale.csv")
    both = points[points["panel"] == "a"].pivot(index="estimator", columns="metric", values="value")
    difference = both[plot.RECIPE_DB] - both[plot.HONEST_DB]
    assert len(both) == 7
    # The same number for all estimators: the ranges differ, not the errors.
    assert difference.to_numpy() == pytest.approx(np.full(7, difference.iloc[0]), abs=1e-3)
    assert set(points[points["panel"] == "c"]["thickness_nm"]) == {2.0, 4.0}
