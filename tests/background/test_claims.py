"""The method's own claims are valid, and unmeasured ones say so."""

from pathlib import Path

from tests.background.tile_sets import toy_tiles, write
from workflow_scripts.background import plot
from workflow_scripts.background.evaluation import scores as evaluation
from workflow_scripts.background.evaluation.metrics import METRICS
from workflow_scripts.background.settings import Evaluate
from workflow_scripts.study.estimators import read_registry
from workflow_scripts.study.ledger import NOT_MEASURED, make_ledger, read_claims
from workflow_scripts.study.tables import read_metrics, write_metrics

CLAIMS = Path(plot.__file__).with_name("claims.yaml")


def test_the_claims_are_valid_and_name_known_estimators_and_metrics():
    claims = read_claims(CLAIMS, "background")
    named = {claim.target.arm for claim in claims} | {claim.target.of for claim in claims}
    named |= {claim.baseline for claim in claims}
    assert named - {None} <= set(read_registry(CLAIMS.with_name("estimators.yaml")))
    ratios = [f"{evaluation.ERROR}_over_{name}" for name in ("median_2", "eigen_flats_same", "eigen_flats_earlier")]
    known = {*METRICS, *ratios, evaluation.STEPS_RATIO}
    assert all(claim.metric in known and claim.unit == "1" for claim in claims if claim.outside is None)
    ledger = make_ledger(claims, {}, "laptop")
    assert len(ledger) == len(claims) > 0
    assert set(ledger["holds"]) == set(ledger["corrected"]) == {NOT_MEASURED}


def test_what_is_measured_is_judged_at_its_own_scale(tmp_path):
    tiles = toy_tiles(3, 16)
    plain = {"spread": False, "curve": False}
    files = [
        write(tmp_path, "gaussian", tiles, {"fitted/tiles=1": 0.2}, **plain),
        write(tmp_path, "median_2", tiles, {"fitted/tiles=2": 0.04}, **plain),
        write(tmp_path, "corrected", tiles, {"finetuned/tiles=2": 0.05}),
    ]
    predictions = [prediction for path in files for prediction in evaluation.predictions_of(path, tiles)]
    scores = evaluation.tile_metrics(predictions, tiles)
    settings = Evaluate(bootstrap_samples=100, seed=0)
    write_metrics(evaluation.metric_rows(scores, settings), tmp_path / "metrics.csv")
    table = {"background": read_metrics(tmp_path / "metrics.csv")}
    claims = read_claims(CLAIMS, "background")
    laptop = make_ledger(claims, table, "laptop")
    judged = laptop[laptop["holds"] != NOT_MEASURED]
    assert [text.split(":")[0] for text in judged["baseline"]] == ["gaussian", "median_2"]
    assert judged["holds"].tolist() == ["yes", "no"]
    gpu = make_ledger(claims, table, "gpu").set_index("claim")["holds"]
    assert gpu["Ten steps of the sampler are within 5 % of fifty"] == "no"
    assert gpu["One spread of corrected holds 68 % of the pixels"] == "yes"
