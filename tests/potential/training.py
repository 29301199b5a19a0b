"""Settings of training for tests, and what several of them measure."""

import torch

from workflow_scripts.potential.networks.tasks import Augmentation
from workflow_scripts.potential.settings import Finetune, NetworkSettings, Pretrain
from workflow_scripts.workflow.settings import check

CPU = torch.device("cpu")
AUGMENTATION = Augmentation(dose_min_e_per_a2=1e3, dose_max_e_per_a2=1e6, gradient_weight=0.5, limited_weight=0.5)
_LOOP = {
    "epochs": 1,
    "batch_size": 4,
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "weight_decay": 1e-3,
    "momentum": 0.0,
    "schedule": "cosine",
    "warmup_fraction": 0.05,
    "gradient_clip_norm": 1.0,
    "checkpoint_interval_s": 60.0,
}
_NETWORK = {"kind": "unet", "unet": {"widths": [8, 16]}, "swin_unetr": {"feature_size": 12}}


def network(kind: str = "unet", **unet) -> NetworkSettings:
    """A network of the smallest size; keywords change the U-net."""
    return check(NetworkSettings, {**_NETWORK, "kind": kind, "unet": {**_NETWORK["unet"], **unet}})


def pretrain(model: type = Pretrain, **changes):
    """Settings of pretraining, or of a model that extends them."""
    mine = {
        "network": _NETWORK,
        "validation_share": 0.2,
        "dose_min_e_per_a2": 1e3,
        "dose_max_e_per_a2": 1e6,
        "gradient_weight": 0.5,
        "limited_weight": 0.5,
        "ablation_epochs": 2,
    }
    return check(model, {**_LOOP, **mine, **changes})


def finetune(model: type = Finetune, **changes):
    """Settings of finetuning, or of a model that extends them."""
    return check(model, {**_LOOP, "samples": 6, "validation_share": 0.3, **changes})


def high_pass(images: torch.Tensor, pixel_size_a: float) -> torch.Tensor:
    """Periods below 1.2 Å: (..., H, W) → the same."""
    rows, columns = (torch.fft.fftfreq(n, pixel_size_a) for n in images.shape[-2:])
    kept = torch.hypot(*torch.meshgrid(rows, columns, indexing="ij")) > 1 / 1.2
    return torch.fft.ifft2(torch.fft.fft2(images) * kept).real


def pearson(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Correlation of images (B, H, W) with images (B, H, W), (B,)."""
    a, b = ((x - x.mean(dim=(-2, -1), keepdim=True)).flatten(1) for x in (a, b))
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
