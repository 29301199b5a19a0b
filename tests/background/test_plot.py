"""The stages evaluate and plot one after the other on toy predictions, and what the figure holds."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.background.tile_sets import toy_tiles, write
from workflow_scripts.background import evaluate, plot
from workflow_scripts.background.settings import Evaluate, Plot
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.tables import headline_numbers, read_metrics
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check

TILES = toy_tiles(4, 16)
ARM = {"pretrained/tiles=2": 0.08, "finetuned/tiles=2": 0.05, "finetuned/tiles=4": 0.04, "finetuned/tiles=16": 0.03}
PLAIN = {"spread": False, "curve": False}
BASELINES = {
    "gaussian": {"fitted/tiles=1": 0.2},
    **{f"median_{n}": {f"fitted/tiles={n}": 0.2 / n} for n in (2, 4, 16)},
    **{f"gated_{n}": {f"fitted/tiles={n}": 0.1 / n} for n in (2, 4, 16)},
    "basic_16": {"fitted/tiles=16": 0.15},
    "eigen_flats": {"fitted/references=same": 0.02, "fitted/references=earlier": 0.3},
}


REGISTRY = Path(plot.__file__).with_name("estimators.yaml")


def run(folder, tiles, files, registry=REGISTRY):
    write_arrays(folder / "test.npz", asdict(tiles))
    settings = check(Evaluate, {"bootstrap_samples": 100, "seed": 0})
    outputs = {name.split(".")[0]: folder / name for name in ("metrics.csv", "by_source.csv", "examples.npz")}
    inputs = {"test": [folder / "test.npz"], "predictions": files}
    evaluate.evaluate(Job(settings, inputs, outputs, folder))
    inputs = {name: [path] for name, path in outputs.items()} | {"estimators": [registry]}
    plot.plot(Job(Plot(), inputs, {"svg": folder / "background.svg"}, folder))
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of all outputs: metrics, examples and the figure."""
    folder = tmp_path_factory.mktemp("stages")
    files = [write(folder, name, TILES, noise_of_parts, **PLAIN) for name, noise_of_parts in BASELINES.items()]
    files.append(write(folder, "published", TILES, {"pretrained/tiles=2": 0.5, "finetuned/tiles=2": 0.4}, **PLAIN))
    files.append(write(folder, "unet", TILES, ARM, **PLAIN))
    files += [write(folder, "corrected", TILES, ARM, seed=seed) for seed in (0, 1)]
    return run(folder, TILES, files)


@pytest.fixture(scope="module")
def points(done):
    return pd.read_csv(done / "background.csv")


def test_the_figure_comes_in_three_formats_with_its_table(done):
    for kind in ("svg", "pdf", "png", "csv"):
        assert (done / f"background.{kind}").stat().st_size > 500, kind


@pytest.mark.parametrize(("panel", "metric"), [("b", plot.ERROR), ("c", plot.GHOST)])
def test_the_figure_shows_the_headline_of_every_estimator(done, points, panel, metric):
    metrics = read_metrics(done / "metrics.csv")
    headline = headline_numbers(metrics).query("metric == @metric").set_index("estimator")
    rows = points[(points["panel"] == panel) & points["references"].isna()].set_index("estimator")
    assert list(rows.index) == list(read_registry(REGISTRY))
    for name in rows.index:
        assert rows.loc[name, "value"] == pytest.approx(headline.loc[name, "value"], abs=1e-5)
        assert rows.loc[name, "n"] == 4
    earlier = points[(points["panel"] == panel) & (points["references"] == "earlier")]
    assert earlier["estimator"].tolist() == ["eigen_flats"]


def test_networks_are_compared_with_baselines_from_as_many_tiles(done):
    ratios = read_metrics(done / "metrics.csv").query(
        "estimator == 'corrected' and metric.str.contains('_over_gated_')"
    )
    compared = ratios.groupby("condition")["metric"].agg(lambda names: sorted(set(names.str.rpartition("_")[2])))
    expected = {
        "stage=pretrain;tiles=2": ["16", "2", "4"],
        "tiles=2": ["16", "2", "4"],
        "tiles=4": ["4"],
        "tiles=16": ["16"],
    }
    assert compared.to_dict() == expected
    of_four = ratios.query("condition == 'tiles=4'")["value"]
    assert of_four.to_numpy() == pytest.approx(np.full(2, 0.04 / 0.025), rel=0.05)


def test_curves_hold_every_number_of_tiles_and_of_steps_once(points):
    for panel, along, expected in (("d", "tiles", [2, 4, 16]), ("e", "steps", [1, 2, 10, 50])):
        curve = points[(points["panel"] == panel) & (points["estimator"] == "corrected")]
        assert sorted(curve[along]) == expected
    tiles = points[points["panel"] == "d"].set_index("estimator")["tiles"]
    assert (tiles["gaussian"], tiles["median_16"], tiles["published"]) == (1, 16, 2)
    assert "eigen_flats" not in tiles.index


def test_the_figure_compares_the_uncertainty_with_the_error_and_shows_its_coverage(points):
    rows = points[points["panel"] == "f"]
    assert rows["spread"].notna().sum() == 10
    assert rows.loc[rows["spread"].notna(), "value"].to_numpy() == pytest.approx(np.full(10, 0.05), rel=0.05)
    coverage = rows[rows["metric"] == plot.COVERAGE].set_index("tiles")["value"]
    assert coverage[2] == pytest.approx(0.683, abs=0.02)


def test_one_session_and_one_baseline_are_enough(tmp_path):
    tiles = toy_tiles(1, 16)
    files = [
        write(tmp_path, "median_2", tiles, {"fitted/tiles=2": 0.1}, **PLAIN),
        write(tmp_path, "corrected", tiles, ARM),
    ]
    folder = run(tmp_path, tiles, files)
    table = pd.read_csv(folder / "background.csv")
    assert set(table["estimator"]) == {"zeros", "median_2", "corrected"}
    assert table["low"].isna().all()


def test_a_baseline_that_is_new_in_the_registry_is_in_every_panel_of_all_estimators(tmp_path):
    registry = tmp_path / "estimators.yaml"
    entry = "toy_baseline: {kind: classical, label: toy, colour: purple}\n"
    registry.write_text(entry + REGISTRY.read_text(encoding="utf-8"), encoding="utf-8")
    files = [
        write(tmp_path, "toy_baseline", TILES, {"fitted/tiles=16": 0.1, "fitted/tiles=4": 0.2}, **PLAIN),
        write(tmp_path, "corrected", TILES, ARM),
    ]
    run(tmp_path, TILES, files, registry)
    table = pd.read_csv(tmp_path / "background.csv")
    for panel in "bcd":
        assert table[table["panel"] == panel]["estimator"].iloc[0] == "toy_baseline"
    points = table[(table["panel"] == "d") & (table["estimator"] == "toy_baseline")]
    assert points["tiles"].tolist() == [16, 4]
    ratio = headline_numbers(read_metrics(tmp_path / "metrics.csv")).set_index("metric")["value"]
    assert ratio["od_rmse_up_to_constant_over_toy_baseline"] == pytest.approx(0.5, rel=0.05)
