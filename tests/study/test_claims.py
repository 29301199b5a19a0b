"""The claims of every method are valid, name known estimators and metrics, and read "not measured" without a run."""

import pytest

import workflow_scripts.alignment.evaluation.scores as alignment
import workflow_scripts.background.evaluation.scores as background
import workflow_scripts.matching.evaluation.metrics
import workflow_scripts.matching.evaluation.statistics as matching
import workflow_scripts.potential.evaluation.comparison as potential
import workflow_scripts.potential.evaluation.metrics
from tests.background.tile_sets import toy_tiles, write
from workflow_scripts.background.evaluation.metrics import METRICS
from workflow_scripts.background.settings import Evaluate
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.ledger import NOT_MEASURED, make_ledger, read_claims
from workflow_scripts.study.tables import read_metrics, write_metrics
from workflow_scripts.workflow.closure import ROOT

FOLDERS = {path.parent.name: path.parent for path in sorted((ROOT / "workflow_scripts").glob("*/claims.yaml"))}
POTENTIAL_BASELINES = read_registry(FOLDERS["potential"] / FILE).named("baseline", "computed")
# The units of the metrics of a method; diffractive_imaging has no such table.
PER_CENT = (*matching.OVER_FAIR.values(), *matching.EXPECTED.values())
UNITS = {
    "alignment": alignment.UNITS,
    "background": dict.fromkeys(METRICS, "1")
    | {
        f"{background.ERROR}_over_{name}": "1"
        for name in ("median_2", "gated_2", "gated_4", "gated_16", "eigen_flats_same", "eigen_flats_earlier")
    }
    | {background.STEPS_RATIO: "1"},
    "matching": workflow_scripts.matching.evaluation.metrics.UNITS
    | dict.fromkeys((*PER_CENT, matching.HALF_WIDTH), "%")
    | {matching.AUC: "1", matching.NEIGHBOURS: "1"},
    "potential": workflow_scripts.potential.evaluation.metrics.UNITS
    | {f"{metric}_gain_over_{name}": "1" for metric in potential.GAINS for name in POTENTIAL_BASELINES},
}


@pytest.mark.parametrize("method", FOLDERS)
def test_the_claims_are_valid_and_name_known_estimators_and_metrics(method):
    claims = read_claims(FOLDERS[method] / "claims.yaml", method)
    named = {name for claim in claims for name in (claim.target.arm, claim.target.of, claim.baseline)}
    assert named - {None} <= read_registry(FOLDERS[method] / FILE).keys()
    if method in UNITS:
        assert all(UNITS[method][claim.metric] == claim.unit for claim in claims if claim.outside is None)
    ledger = make_ledger(claims, {}, "laptop")
    assert len(ledger) == len(claims) > 0
    assert set(ledger["holds"]) == set(ledger["corrected"]) == {NOT_MEASURED}


def test_measured_claims_are_judged_at_their_own_scale(tmp_path):
    tiles = toy_tiles(3, 16)
    plain = {"spread": False, "curve": False}
    files = [
        write(tmp_path, "gaussian", tiles, {"fitted/tiles=1": 0.2}, **plain),
        write(tmp_path, "median_2", tiles, {"fitted/tiles=2": 0.04}, **plain),
        write(tmp_path, "corrected", tiles, {"finetuned/tiles=2": 0.05}),
    ]
    predictions = [prediction for path in files for prediction in background.predictions_of(path, tiles)]
    scores = background.tile_metrics(predictions, tiles)
    write_metrics(background.metric_rows(scores, Evaluate(bootstrap_samples=100, seed=0)), tmp_path / "metrics.csv")
    table = {"background": read_metrics(tmp_path / "metrics.csv")}
    claims = read_claims(FOLDERS["background"] / "claims.yaml", "background")
    laptop = make_ledger(claims, table, "laptop")
    judged = laptop[laptop["holds"] != NOT_MEASURED]
    assert [text.split(":")[0] for text in judged["baseline"]] == ["gaussian", "median_2"]
    assert judged["holds"].tolist() == ["yes", "no"]
    gpu = make_ledger(claims, table, "gpu").set_index("claim")["holds"]
    assert gpu["Ten steps of the sampler are within 5 % of fifty"] == "no"
    assert gpu["One spread of corrected holds 68 % of the pixels"] == "yes"
