"""The stages evaluate and plot one after the other on toy predictions, and what the figure holds."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from tests.background.tile_sets import toy_tiles, write_predictions
from workflow_scripts.background import drawing, evaluate, plot
from workflow_scripts.study.tables import HEADLINE, read_metrics
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check

TILES = toy_tiles(4, 16)
ARM = {"pretrained.n2": 0.08, "finetuned.n2": 0.05, "finetuned.n4": 0.04, "finetuned.n16": 0.03}
PLAIN = {"spread": False, "curve": False}
BASELINES = {
    "gaussian": {"fitted.n1": 0.2},
    "maximum_2": {"fitted.n2": 0.15},
    **{f"median_{n}": {f"fitted.n{n}": 0.2 / n} for n in (2, 4, 16)},
    "eigen_flats": {"fitted.same": 0.02, "fitted.earlier": 0.3},
}


def run(folder, tiles, files, baselines):
    write_arrays(folder / "test.npz", asdict(tiles))
    settings = check(evaluate.Arguments, {"baselines": baselines, "bootstrap_samples": 100, "seed": 0})
    outputs = {"metrics": folder / "metrics.csv", "examples": folder / "examples.npz"}
    inputs = {"test": [folder / "test.npz"], "predictions": files}
    evaluate.evaluate(Job(settings, inputs, outputs, folder))
    given = {name: [path] for name, path in outputs.items()}
    plot.plot(Job(check(plot.Arguments, {}), given, {"svg": folder / "background.svg"}, folder))
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of all outputs: metrics, examples and the figure."""
    folder = tmp_path_factory.mktemp("stages")
    files = [write_predictions(folder, name, TILES, answers, **PLAIN) for name, answers in BASELINES.items()]
    files.append(write_predictions(folder, "published", TILES, {"pretrained.n2": 0.5, "finetuned.n2": 0.4}, **PLAIN))
    files.append(write_predictions(folder, "unet", TILES, ARM, **PLAIN))
    files += [write_predictions(folder, "corrected", TILES, ARM, seed=seed) for seed in (0, 1)]
    return run(folder, TILES, files, [*BASELINES, "unet"])


@pytest.fixture(scope="module")
def points(done):
    return pd.read_csv(done / "background.csv")


def test_the_figure_comes_in_three_formats_with_its_table(done):
    for kind in ("svg", "pdf", "png", "csv"):
        assert (done / f"background.{kind}").stat().st_size > 500, kind


@pytest.mark.parametrize(("panel", "metric"), [("b", drawing.ERROR), ("c", drawing.GHOST)])
def test_the_figure_shows_the_headline_of_every_estimator(done, points, panel, metric):
    metrics = read_metrics(done / "metrics.csv")
    headline = metrics[(metrics["condition"] == HEADLINE) & (metrics["metric"] == metric)].set_index("estimator")
    shown = points[(points["panel"] == panel) & points["references"].isna()].set_index("estimator")
    assert list(shown.index) == list(drawing.ORDER)
    for name in drawing.ORDER:
        assert shown.loc[name, "value"] == pytest.approx(headline.loc[name, "value"], abs=1e-5)
        assert shown.loc[name, "n"] == 4
    earlier = points[(points["panel"] == panel) & (points["references"] == "earlier")]
    assert earlier["estimator"].tolist() == ["eigen_flats"]


def test_curves_hold_every_number_of_tiles_and_of_steps_once(points):
    for panel, along, expected in (("d", "tiles", [2, 4, 16]), ("e", "steps", [1, 2, 10, 50])):
        curve = points[(points["panel"] == panel) & (points["estimator"] == "corrected")]
        assert sorted(curve[along]) == expected
    tiles = points[points["panel"] == "d"].set_index("estimator")["tiles"]
    assert (tiles["gaussian"], tiles["median_16"], tiles["published"]) == (1, 16, 2)
    assert "eigen_flats" not in tiles.index


def test_the_uncertainty_stands_beside_the_error_and_its_coverage(points):
    shown = points[points["panel"] == "f"]
    assert shown["spread"].notna().sum() == 10
    assert shown.loc[shown["spread"].notna(), "value"].to_numpy() == pytest.approx(np.full(10, 0.05), rel=0.05)
    coverage = shown[shown["metric"] == drawing.COVERAGE].set_index("tiles")["value"]
    assert coverage[2] == pytest.approx(0.683, abs=0.02)


def test_one_session_and_one_baseline_are_enough(tmp_path):
    tiles = toy_tiles(1, 16)
    files = [
        write_predictions(tmp_path, "median_2", tiles, {"fitted.n2": 0.1}, **PLAIN),
        write_predictions(tmp_path, "corrected", tiles, ARM),
    ]
    folder = run(tmp_path, tiles, files, ["median_2"])
    found = pd.read_csv(folder / "background.csv")
    assert set(found["estimator"]) == {"zeros", "median_2", "corrected"}
    assert found["low"].isna().all()


def test_a_missing_baseline_ends_in_a_sentence(tmp_path):
    files = [write_predictions(tmp_path, "corrected", TILES, ARM)]
    with pytest.raises(InputError, match="gaussian, median_2, which --baselines names"):
        run(tmp_path, TILES, files, ["gaussian", "median_2"])
