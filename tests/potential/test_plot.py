"""The stages predict, evaluate and plot one after the other on toy samples, and what their figures hold."""

import numpy as np
import pandas as pd
import pytest

from tests.potential.test_estimators import weights
from tests.potential.toy import toy_samples
from workflow_scripts.potential import drawing, drawing_scale, evaluate, plot, predict
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, write_arrays
from workflow_scripts.workflow.settings import check

PREDICT = {
    "batch_size": 16,
    "dose_e_per_a2": [1e4, 1e5],
    "ridge_kernel_px": 3,
    "seed": 0,
    "gpus": 0,
    "precision": "float32",
    "training_seed": 0,
    "held_out_material": "GaN",
}
EVALUATE = {
    "baselines": ["icom", "metadata_mean", "ridge"],
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


def run_predict(folder, estimator, inputs):
    path = folder / f"{estimator}.npz"
    arguments = check(predict.Arguments, PREDICT | {"estimator": estimator})
    predict.predict(Job(arguments, inputs, {"predictions": path}, folder))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of all outputs: metrics, examples, cells and the figures."""
    folder = tmp_path_factory.mktemp("stages")
    shards = [folder / "shard0.npz"]
    write_arrays(shards[0], toy_samples(2, 32, seed=0).arrays())
    write_arrays(folder / "test.npz", toy_samples(2, 32, seed=9).arrays())
    test = {"test": [folder / "test.npz"]}
    trained = {arm: [weights(folder, arm)] for arm in ("published", "corrected")}
    files = [run_predict(folder, name, test | {"shards": shards}) for name in EVALUATE["baselines"]]
    files.append(run_predict(folder, "published", test | {"pretrained": trained["published"]}))
    both = {"pretrained": trained["corrected"], "finetuned": trained["corrected"]}
    files.append(run_predict(folder, "corrected", test | both))
    alone = run_predict(folder, "only_joint_minmax", test | {"pretrained": trained["corrected"]})
    outputs = {name: folder / name for name in ("metrics", "examples", "cells")}
    inputs = test | {"predictions": files, "ablated": [alone]}
    evaluate.evaluate(Job(check(evaluate.Arguments, EVALUATE), inputs, outputs, folder))
    figures = {"svg": folder / "potential.svg", "scale_svg": folder / "potential_scale.svg"}
    plot.plot(Job(check(plot.Arguments, {}), {name: [path] for name, path in outputs.items()}, figures, folder))
    return folder


def test_predictions_hold_every_detector_dose_and_stage_that_the_estimator_knows(done):
    ours = read_arrays(done / "corrected.npz", ["stages", "detectors", "dose_e_per_a2", "finetuned.matched.shuffled"])
    assert ours["stages"].tolist() == ["pretrained", "finetuned"]
    assert ours["detectors"].tolist() == ["ring", "matched"]
    assert ours["dose_e_per_a2"].tolist() == [1e4, 1e5, np.inf]
    theirs = read_arrays(done / "published.npz", ["stages", "detectors"])
    assert (theirs["stages"].tolist(), theirs["detectors"].tolist()) == (["pretrained"], ["ring"])
    alone = read_arrays(done / "only_joint_minmax.npz", ["detectors", "dose_e_per_a2"])
    assert (alone["detectors"].tolist(), alone["dose_e_per_a2"].tolist()) == (["ring"], [1e4, 1e5])


@pytest.mark.parametrize(("estimator", "missing"), [("ridge", "shards"), ("corrected", "pretrained")])
def test_an_estimator_without_what_it_needs_is_refused(done, estimator, missing):
    with pytest.raises(InputError, match=f"--estimator {estimator} needs --{missing}"):
        run_predict(done, estimator, {"test": [done / "test.npz"]})


def test_both_figures_come_in_three_formats_with_their_tables(done):
    for name in ("potential", "potential_scale"):
        for kind in ("svg", "pdf", "png", "csv"):
            assert (done / f"{name}.{kind}").stat().st_size > 500, (name, kind)


def test_the_first_figure_shows_the_headline_of_every_estimator(done):
    metrics = read_metrics(done / "metrics")
    headline = metrics[(metrics["condition"] == "headline") & (metrics["metric"] == "pearson")]
    points = pd.read_csv(done / "potential.csv")
    shown = points[(points["panel"] == "b") & (points["metric"] == "pearson") & (points["materials"] == "seen")]
    assert set(shown["estimator"]) == {"zeros", *EVALUATE["baselines"], "published", "corrected"}
    for _, row in headline.iterrows():
        assert shown.set_index("estimator").loc[row["estimator"], "value"] == pytest.approx(row["value"], abs=1e-5)


def test_unseen_is_before_finetuning_and_nobody_who_trained_on_it(done):
    metrics = drawing.with_conditions(read_metrics(done / "metrics"))
    points = drawing.source_table(read_metrics(done / "metrics"), 1e5, 40.0)
    unseen = points[(points["panel"] == "b") & (points["materials"] == "unseen") & (points["metric"] == "pearson")]
    assert "published" not in set(unseen["estimator"])
    before = metrics[
        (metrics["estimator"] == "corrected")
        & (metrics["stage"] == "pretrain")
        & (metrics["materials"] == "unseen")
        & (metrics["metric"] == "pearson")
        & (metrics["detector"] == "ring")
        & (metrics["dose_e_per_a2"] == 1e5)
        & metrics["metadata"].isna()
        & (metrics["thickness_max_nm"] == 40)
    ]
    assert unseen.set_index("estimator").loc["corrected", "value"] == pytest.approx(before["value"].item())


def test_curves_hold_every_dose_and_every_thickness_once(done):
    points = pd.read_csv(done / "potential.csv")
    for panel, along, values in (("c", "dose_e_per_a2", {1e4, 1e5, np.inf}), ("d", "thickness_nm", {10.0, 40.0})):
        for _, curve in points[points["panel"] == panel].groupby("estimator"):
            assert sorted(curve[along]) == sorted(values)


def test_the_second_figure_has_both_scales_of_the_same_errors(done):
    points = pd.read_csv(done / "potential_scale.csv")
    both = points[points["panel"] == "a"].pivot(index="estimator", columns="metric", values="value")
    difference = both[drawing_scale.RECIPE_DB] - both[drawing_scale.HONEST_DB]
    assert len(both) == 6
    # One and the same number for all estimators: the ranges differ, not the errors
    assert difference.to_numpy() == pytest.approx(np.full(6, difference.iloc[0]), abs=1e-3)
    assert set(points[points["panel"] == "c"]["thickness_nm"]) == {2.0, 4.0}
