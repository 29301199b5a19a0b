"""Small files of the stage synthesize and settings of the learned part."""

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.matching.networks.tasks import Augmentation
from workflow_scripts.matching.settings import (
    DiffractionSettings,
    LossSettings,
    NetworkSettings,
    ObservationSettings,
    RefitSettings,
    Synthesize,
)
from workflow_scripts.matching.simulation.datasets import make
from workflow_scripts.matching.simulation.pairs import Pairs, read_pairs
from workflow_scripts.matching.simulation.pattern_files import Queries
from workflow_scripts.workflow.files import write_arrays

SYNTHESIZE = Synthesize(
    crystal="polyethylene",
    diffraction=DiffractionSettings(voltage_kv=200.0, side_px=32, pixel_size_per_a=0.06, spot_px=0.8, thickness_nm=5.0),
    observation=ObservationSettings(
        mosaic_deg=0.3,
        centre_px=0.2,
        ellipticity=0.01,
        camera_length=0.01,
        beam_stop_px=1.5,
        halo=0.5,
        session_variation=0.1,
    ),
    cells=60,
    train_shards=1,
    train_patterns=64,
    gallery=120,
    queries=20,
    sessions=4,
    dose_e=(2000.0, 500.0),
    background_share=0.5,
    map_px=4,
    seed=0,
)
NETWORK = NetworkSettings(rings=12, angles=48, width=8, layers=2, recipe="small", recipe_widths=(4, 8), embedding=8)
LOSS = LossSettings(wasserstein="none", stage=0, wasserstein_weight=1.0, cosine_weight=0.0, projections=8)
REFIT = RefitSettings(
    directions=400,
    candidates=20,
    reflections=48,
    mosaic_deg=0.25,
    thickness_spread=0.2,
    first_queries=20,
    map_queries=9,
    other_queries=4,
)
AUGMENTATION = Augmentation(dose_min_e=100.0, dose_max_e=2000.0, recipe_dose_e=300.0, background_share=0.5)
TRAINING = {
    **{"epochs": 2, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.002, "weight_decay": 0.0},
    **{"momentum": 0.0, "schedule": "constant", "warmup_fraction": 0.0, "gradient_clip_norm": 1.0},
    "checkpoint_interval_s": 60.0,
}
CPU = torch.device("cpu")


@lru_cache
def pair_arrays() -> dict[str, np.ndarray]:
    return make(SYNTHESIZE, "train", 0, CPU)


@lru_cache
def pairs() -> Pairs:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.npz"
        write_arrays(path, pair_arrays())
        return read_pairs([path])


def calculated(number: int) -> Tensor:
    """The first calculated patterns (number, n, n) of the pairs."""
    return pairs().render(torch.arange(number))[0]


@lru_cache
def queries() -> Queries:
    return Queries(**make(SYNTHESIZE, "test", 0, CPU))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
