"""The method's own claims are valid, and unmeasured ones say so."""

from pathlib import Path

import workflow_scripts.diffractive_imaging
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.study.ledger import NOT_MEASURED, make_ledger, read_claims

CLAIMS = Path(workflow_scripts.diffractive_imaging.__file__).with_name("claims.yaml")


def test_the_claims_are_valid_and_name_known_estimators():
    claims = read_claims(CLAIMS, "diffractive_imaging")
    named = {claim.target.arm for claim in claims} | {claim.target.of for claim in claims}
    named |= {claim.baseline for claim in claims}
    assert named - {None} <= set(read_registry(CLAIMS.with_name(FILE)))
    ledger = make_ledger(claims, {}, "laptop")
    assert len(ledger) == len(claims) > 0
    assert set(ledger["holds"]) == set(ledger["corrected"]) == {NOT_MEASURED}
