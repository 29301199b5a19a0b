"""Small settings for tests, from the smoke scale."""

from workflow_scripts.diffractive_imaging.settings import Evaluate, Finetune, NetworkSettings, Pretrain, Synthesize
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import check

_SMOKE = merged("smoke")["diffractive_imaging"]


def synthesize(**changes) -> Synthesize:
    return check(Synthesize, {**_SMOKE["synthesize"], **changes})


def pretrain(**changes) -> Pretrain:
    return check(Pretrain, {**_SMOKE["pretrain"], **changes})


def finetune(**changes) -> Finetune:
    return check(Finetune, {**_SMOKE["finetune"], **changes})


def evaluate(**changes) -> Evaluate:
    return check(Evaluate, {**_SMOKE["evaluate"], **changes})


def network(**changes) -> NetworkSettings:
    return check(NetworkSettings, {**_SMOKE["pretrain"]["network"], **changes})
