"""A user's patterns for tests: silicon on a detector of another size, off its middle, under a beam stop."""

import numpy as np
import torch

from tests.matching.crystals import crystal
from tests.matching.training import seeded
from workflow_scripts.matching.apply.settings import Apply
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.orientations import random_rotations
from workflow_scripts.workflow.settings import check

CRYSTAL, CENTER, STOP_PX, PIXEL = "silicon", (29.5, 26.5), 3.0, 0.055
SCAN = (3, 4)


def rotations() -> torch.Tensor:
    return random_rotations(SCAN[0] * SCAN[1], seeded(4))


def counts(electrons: float = 20000.0) -> np.ndarray:
    """(3, 4, 56, 60) counts with a weak flat background."""
    light = DiffractionSettings.model_construct(
        voltage_kv=200.0, side_px=50, pixel_size_per_a=PIXEL, spot_px=1.1, thickness_nm=6.0
    )
    simulator = Simulator(crystal(CRYSTAL), light)
    patterns = simulator.patterns(rotations())
    wide = torch.zeros(len(patterns), 56, 60)
    wide[:, 5:55, 2:52] = patterns  # the middle of 50 px lies at 24.5
    drawn = torch.poisson(electrons * (wide + 0.3 / wide[0].numel()), generator=seeded(5))
    return drawn.numpy().reshape(*SCAN, 56, 60)


def settings(patterns: str, **changes) -> Apply:
    base = {
        "patterns": patterns,
        "crystal": CRYSTAL,
        "pixel_size_per_a": PIXEL,
        "beam_stop_px": STOP_PX,
        "gallery": 400,
    }
    return check(Apply, base | changes)
