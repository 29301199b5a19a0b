"""Settings of training for tests."""

from workflow_scripts.background.settings import Finetune, NetworkSettings, Pretrain
from workflow_scripts.workflow.settings import check

_LOOP = {
    "epochs": 1,
    "batch_size": 4,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 1e-3,
    "momentum": 0.0,
    "schedule": "cosine",
    "warmup_fraction": 0.05,
    "gradient_clip_norm": 1.0,
    "checkpoint_interval_s": 60.0,
    "pairs": 8,
    "validation_pairs": 8,
}
_NETWORK = {"kind": "unet", "unet": {"block_px": 2, "widths": [8, 16]}, "monai": {"base": 32}}


def network(kind: str = "unet", **unet) -> NetworkSettings:
    """A network of the smallest size; keywords change the U-net."""
    return check(NetworkSettings, {**_NETWORK, "kind": kind, "unet": {**_NETWORK["unet"], **unet}})


def pretrain(model: type = Pretrain, **changes):
    """Settings of pretraining, or of a model that extends them."""
    return check(model, {**_LOOP, "network": _NETWORK, "largest_set": 4, **changes})


def finetune(model: type = Finetune, **changes):
    """Settings of finetuning, or of a model that extends them."""
    return check(model, {**_LOOP, **changes})
