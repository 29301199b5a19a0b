"""Four segment images as a user might have them: counts of a toy specimen on a detector of any orientation."""

import numpy as np

from workflow_scripts.potential.settings import MicroscopeSettings
from workflow_scripts.workflow.settings import check

PIXEL_A, INCIDENT = 0.25, 50.0
SHAPE = (40, 52)
MICROSCOPE = check(
    MicroscopeSettings,
    {
        "voltage_kv": 200.0,
        "semiangle_mrad": 20.0,
        "defocus_a": 0.0,
        "cs_mm": 0.0,
        "source_size_a": 0.3,
        "ring_mrad": [10.0, 50.0],
        "matched_ring_mrad": [0.0, 20.0],
    },
)


def settings(**changes) -> dict:
    """The entry of the configuration that fits four files."""
    entry = {
        "images": [f"segment{number}.npy" for number in range(4)],
        "pixel_size_a": PIXEL_A,
        "thickness_nm": 20.0,
        "rotation_deg": [15.0, 0.1, -0.2],
        "voltage_kv": 200.0,
        "semiangle_mrad": 20.0,
        "ring_mrad": [10.0, 50.0],
        "incident": INCIDENT,
        "counts_per_electron": 1.0,
    }
    entry |= changes
    return {key: value for key, value in entry.items() if value is not None}


def shares(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Shares of the beam on the network's segments, (4, H, W); each segment has a different mean."""
    y, x = np.indices(shape) * PIXEL_A
    column = np.exp(np.cos(2 * np.pi * y / 3.9) + np.cos(2 * np.pi * x / 3.9) - 2)
    down, right = np.gradient(column)
    slopes = (down + right, right - down, -down - right, down - right)
    return np.stack([0.03 + 0.01 * segment + 0.02 * column + 0.05 * slope for segment, slope in enumerate(slopes)])


def counts() -> np.ndarray:
    """uint16 (4, H, W) of the above."""
    return np.random.default_rng(0).poisson(INCIDENT * shares()).astype(np.uint16)
