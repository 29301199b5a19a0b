"""The method's own claims are valid, and unmeasured ones say so."""

from tests.potential.predicting import REGISTRY
from workflow_scripts.potential.evaluation.comparison import GAINS
from workflow_scripts.potential.evaluation.metrics import UNITS
from workflow_scripts.study.ledger import NOT_MEASURED, make_ledger, read_claims
from workflow_scripts.workflow.closure import ROOT

CLAIMS = ROOT / "workflow_scripts/potential/claims.yaml"


def test_the_claims_are_valid_and_name_known_estimators_and_metrics():
    claims = read_claims(CLAIMS, "potential")
    named = {claim.target.arm for claim in claims} | {claim.target.of for claim in claims}
    named |= {claim.baseline for claim in claims}
    assert named - {None} <= set(REGISTRY)
    units = UNITS | {f"{metric}_gain_over_{name}": "1" for metric in GAINS for name in REGISTRY.named("baseline")}
    assert all(units[claim.metric] == claim.unit for claim in claims if claim.outside is None)
    ledger = make_ledger(claims, {}, "laptop")
    assert len(ledger) == len(claims) > 0
    assert set(ledger["holds"]) == set(ledger["corrected"]) == {NOT_MEASURED}
