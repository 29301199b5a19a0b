"""The stages evaluate and plot one after the other on toy predictions, and the contents of the figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.matching.toy_predictions import EVALUATE, toy_queries, write_predictions, write_queries
from workflow_scripts.matching import evaluate, plot
from workflow_scripts.matching.settings import Plot
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.ledger import make_ledger, read_claims
from workflow_scripts.study.tables import headline_numbers, read_metrics
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.files import read_arrays
from workflow_scripts.workflow.settings import check

SHARES = {"chance": 0.0, "untrained": 0.3, "ncc": 0.2, "polar_template": 0.5, "polar_refit": 0.8}
ARMS = {"fair_pretraining": 0.2, "without_pretraining": 0.6, "without_observation": 0.4, "sliced": 0.7}
KINDS = ("svg", "pdf", "png", "csv")
REGISTRY = Path(plot.__file__).with_name(FILE)


def evaluated(folder, queries, baselines=SHARES):
    """Metrics and examples of a study with every estimator."""
    test = [write_queries(folder / "test.npz", queries)]
    trained = {"published": (0.2, 0.3), "corrected": (0.6, 0.75), "corrected_refit": (0.7, 0.85)}
    files = [
        write_predictions(folder / f"{name}.npz", queries, name, {"fitted": share}) for name, share in baselines.items()
    ]
    for name, (before, after) in trained.items():
        shares = {"pretrained": before, "finetuned": after}
        files.append(write_predictions(folder / f"{name}.npz", queries, name, shares))
    ablated = [
        write_predictions(folder / f"{name}.npz", queries, name, {"pretrained": 0.1, "finetuned": share})
        for name, share in ARMS.items()
    ]
    arguments = check(
        evaluate.Arguments,
        EVALUATE | {"ablations": list(ARMS), "pixel_size_per_a": 0.03, "cells": 60},
    )
    outputs = {name.split(".")[0]: folder / name for name in ("metrics.csv", "by_source.csv", "examples.npz")}
    inputs = {"test": test, "predictions": files, "ablated": ablated}
    evaluate.evaluate(Job(arguments, inputs, outputs, folder))


def made(folder, queries):
    """The same with the figure."""
    evaluated(folder, queries)
    drawn(folder, folder)
    return folder


def drawn(folder, out, registry=REGISTRY):
    """The figure of the metrics and examples in a folder."""
    inputs = {"metrics": [folder / "metrics.csv"], "examples": [folder / "examples.npz"], "estimators": [registry]}
    plot.plot(Job(check(Plot, {}), inputs, {kind: out / f"matching.{kind}" for kind in KINDS}, out))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return made(tmp_path_factory.mktemp("stages"), toy_queries())


def test_every_estimator_has_its_headline_and_the_figure_shows_it(done):
    metrics = read_metrics(done / "metrics.csv")
    headline = headline_numbers(metrics).query("metric == @plot.TOP5")
    assert set(headline["estimator"]) == {*SHARES, "published", "corrected", "corrected_refit"}
    points = pd.read_csv(done / "matching.csv")
    shown = points[(points["panel"] == "b") & (points["metric"] == plot.TOP5) & (points["dose_e"] == 300)]
    assert shown.set_index("estimator")["value"].to_dict() == pytest.approx(
        headline.set_index("estimator")["value"].to_dict(), rel=1e-5
    )


def test_a_new_baseline_is_in_every_panel_of_all_estimators_at_its_place_in_the_registry(tmp_path):
    queries = toy_queries()
    shares = {"toy": 0.4} | SHARES
    evaluated(tmp_path, queries, shares)
    registry = tmp_path / FILE
    toy = "toy: {kind: classical, label: toy, colour: sky}"
    registry.write_text(REGISTRY.read_text().replace("\npublished:", f"\n{toy}\npublished:"))
    drawn(tmp_path, tmp_path, registry)
    points = pd.read_csv(tmp_path / "matching.csv")
    for panel in "bcd":
        names = points[points["panel"] == panel]["estimator"].drop_duplicates().tolist()
        assert names[:7] == ["chance", "untrained", "ncc", "polar_template", "polar_refit", "toy", "published"]


def test_every_panel_has_its_points_and_every_arm_its_line(done):
    points = pd.read_csv(done / "matching.csv")
    assert set(points["panel"]) == set("bcde")
    ablation = points[points["panel"] == "e"]
    assert set(ablation["arm"].dropna()) == set(ARMS)
    assert (ablation.loc[ablation["arm"] == "fair_pretraining", "estimator"] == "published").all()
    assert (ablation["metric"] == plot.UNFAIR).sum() == 1
    labels = [label for label, _ in plot.ablation_lines(ablation, read_registry(REGISTRY))]
    assert labels[:3] == ["published", "fair pretraining", "before finetuning"]
    assert labels[3:6] == ["corrected", "before finetuning", "without pretraining"]
    for kind in KINDS:
        assert (done / f"matching.{kind}").stat().st_size > 5000


def test_curves_of_misorientation_end_at_every_query(done):
    points = pd.read_csv(done / "matching.csv")
    for _, curve in points[points["panel"] == "c"].groupby("estimator"):
        assert curve["value"].is_monotonic_increasing
        assert curve["value"].iloc[-1] == 1
        assert set(curve["n"]) == {24}


def test_the_map_is_drawn_where_there_is_one_alone(done, tmp_path):
    assert read_arrays(done / "examples.npz", ["map_deg"])["map_deg"].shape == (2, 6, 6)
    made(tmp_path, toy_queries(with_map=False))
    assert read_arrays(tmp_path / "examples.npz", ["map_deg"])["map_deg"].size == 0
    assert (tmp_path / "matching.png").stat().st_size > 5000


def test_a_figure_drawn_again_has_equal_bytes(done, tmp_path):
    drawn(done, tmp_path)
    for kind in KINDS:
        assert (tmp_path / f"matching.{kind}").read_bytes() == (done / f"matching.{kind}").read_bytes()


def test_the_examples_are_the_first_queries_and_ours_beside_the_best_template(done):
    queries = toy_queries()
    examples = read_arrays(done / "examples.npz", plot.EXAMPLES)
    assert examples["shown"].tolist() == ["corrected", "polar_template"]
    chosen = np.flatnonzero((queries.kind == "plain") & (queries.region == "unseen") & (queries.dose_e == 300))[:4]
    assert np.array_equal(examples["query"], queries.counts[chosen])
    assert examples["answer"].shape == (2, 4, 3, 32, 32)


def test_every_claim_about_the_headline_is_measured(done):
    claims = read_claims(Path(evaluate.__file__).with_name("claims.yaml"), "matching")
    metrics = read_metrics(done / "metrics.csv")
    for claim in claims:
        if claim.outside is not None:
            continue  # a number that the study itself never measures
        ledger = make_ledger([claim], {"matching": metrics}, claim.scale)
        assert ledger["holds"].item() in ("yes", "no"), claim.claim
