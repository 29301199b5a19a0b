"""The method's own claims are valid, and unmeasured ones say so."""

from tests.alignment.study import REGISTRY
from workflow_scripts.alignment.evaluation import metrics as evaluation
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.ledger import NOT_MEASURED, make_ledger, read_claims

CLAIMS = REGISTRY.with_name("claims.yaml")


def test_the_claims_are_valid_and_name_known_estimators_and_metrics():
    claims = read_claims(CLAIMS, "alignment")
    named = {claim.target.arm for claim in claims} | {claim.target.of for claim in claims}
    named |= {claim.baseline for claim in claims}
    assert named - {None} <= read_registry(CLAIMS.with_name(FILE)).keys()
    assert all(evaluation.UNITS[claim.metric] == claim.unit for claim in claims if claim.outside is None)
    ledger = make_ledger(claims, {}, "laptop")
    assert len(ledger) == len(claims) > 0
    assert set(ledger["holds"]) == set(ledger["corrected"]) == {NOT_MEASURED}
