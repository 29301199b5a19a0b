"""The method's own claims are valid, and unmeasured ones say so."""

from pathlib import Path

from workflow_scripts.matching.evaluation import statistics
from workflow_scripts.matching.evaluation.metrics import UNITS
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.ledger import NOT_MEASURED, make_ledger, read_claims

CLAIMS = Path(statistics.__file__).parents[1] / "claims.yaml"


def test_the_claims_are_valid_and_name_known_estimators_and_metrics():
    claims = read_claims(CLAIMS, "matching")
    named = {claim.target.arm for claim in claims} | {claim.target.of for claim in claims}
    named |= {claim.baseline for claim in claims}
    assert named - {None} <= set(read_registry(CLAIMS.with_name(FILE)))
    per_cent = (*statistics.OVER_TEMPLATE.values(), *statistics.OVER_FAIR.values(), *statistics.EXPECTED.values())
    units = UNITS | dict.fromkeys((*per_cent, statistics.HALF_WIDTH), "%")
    units |= {statistics.AUC: "1", statistics.NEIGHBOURS: "1"}
    assert all(units[claim.metric] == claim.unit for claim in claims if claim.outside is None)
    ledger = make_ledger(claims, {}, "laptop")
    assert len(ledger) == len(claims) > 0
    assert set(ledger["holds"]) == set(ledger["corrected"]) == {NOT_MEASURED}
