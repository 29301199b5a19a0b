"""The stages predict, evaluate and plot one after the other on a small study, and what the figure holds."""

import numpy as np
import pandas as pd
import pytest

from tests.alignment.study import EVALUATE, PREDICT, made
from workflow_scripts.alignment import drawing, evaluate, plot, predict
from workflow_scripts.alignment.settings import Evaluate, Plot
from workflow_scripts.study.tables import HEADLINE, read_metrics
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, write_arrays
from workflow_scripts.workflow.settings import check


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of all outputs, with a stand-in for a trained arm."""
    folder = tmp_path_factory.mktemp("stages")
    files = {name: [path] for name, path in made(folder, particles=["groel_side", "groel_top", "asymmetric"]).items()}
    seen = {name: files[name] for name in ("stack", "star")}
    for name in ("polar_pairwise", "polar_joint"):
        arguments = check(predict.Arguments, PREDICT | {"estimator": name})
        predict.predict(Job(arguments, seen, {"predictions": folder / f"{name}.npz"}, folder))
    with np.load(folder / "polar_joint.npz") as archive:
        held = {name.replace("joint/", "finetuned/"): archive[name] for name in archive.files}
    with np.load(folder / "polar_pairwise.npz") as archive:
        held |= {name.replace("pairwise/", "pretrained/"): archive[name] for name in archive.files if "/" in name}
    write_arrays(folder / "corrected.npz", held | {"estimator": "corrected", "stages": ["pretrained", "finetuned"]})
    predictions = [folder / f"{name}.npz" for name in ("polar_pairwise", "polar_joint", "corrected")]
    outputs = {"metrics": folder / "metrics.csv", "examples": folder / "examples.npz"}
    evaluate.evaluate(Job(check(Evaluate, EVALUATE), files | {"predictions": predictions}, outputs, folder))
    shown = {suffix: folder / f"alignment.{suffix}" for suffix in ("svg", "pdf", "png", "csv")}
    plot.plot(Job(check(Plot, {}), {name: [path] for name, path in outputs.items()}, shown, folder))
    return folder


def test_the_table_is_valid_and_every_estimator_has_its_headline(done):
    metrics = read_metrics(done / "metrics.csv")
    found = metrics[metrics["condition"] == HEADLINE]
    angles = found[(found["metric"] == "rotation_error_deg_mod180") & (found["statistic"] == "mean")]
    by_name = angles.set_index("estimator")["value"]
    assert set(by_name.index) == {"polar_pairwise", "polar_joint", "corrected"}
    # The stand-in answers as the baselines do.
    assert by_name["corrected"] == by_name["polar_joint"] < by_name["polar_pairwise"] < 10
    assert set(found["estimator"]) == {*by_name.index, "true_poses"}


def test_every_panel_has_its_points(done):
    table = pd.read_csv(done / "alignment.csv")
    assert set(table["panel"]) == set("bcefg")
    assert set(table[table["panel"] == "b"]["snr"]) == {0.5, 1.0}
    assert set(table[table["panel"] == "e"]["images"]) == {8, 16, 24}
    control = table[table["panel"] == "g"]
    assert set(control["particle"].dropna()) == {"groel_side", "groel_top", "asymmetric"}
    for suffix in ("svg", "pdf", "png"):
        assert (done / f"alignment.{suffix}").stat().st_size > 5000


def test_histograms_count_every_image_of_the_headline_once(done):
    examples = drawing.read_examples(done / "examples.npz")
    counts = {
        tuple(curve): count.sum() for curve, count in zip(examples["curves"].tolist(), examples["counts"], strict=True)
    }
    # Two particles of C1 and C2, 24 images each.
    assert counts["polar_joint", "joint"] == counts["corrected", "joint"] == 48
    assert counts["polar_pairwise", "pairwise"] == counts["corrected", "pairwise"] == 46


def test_answers_for_other_stacks_are_refused(done, tmp_path):
    files = {name: [path] for name, path in made(tmp_path, snr=[1.0]).items()}
    outputs = {"metrics": tmp_path / "metrics.csv", "examples": tmp_path / "examples.npz"}
    with pytest.raises(InputError, match="answers for other stacks"):
        inputs = files | {"predictions": [done / "polar_joint.npz"]}
        evaluate.evaluate(Job(check(Evaluate, EVALUATE), inputs, outputs, tmp_path))
    held = read_arrays(done / "polar_joint.npz", ["joint/asymmetric-white-1/angle_deg"])
    assert held["joint/asymmetric-white-1/angle_deg"].shape == (24,)
