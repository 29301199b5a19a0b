"""Small settings of the stage synthesize for tests."""

from workflow_scripts.background.settings import Synthesize


def small(**changes) -> Synthesize:
    """Tiles of 32 px, few of everything."""
    values = {
        "side_px": 32,
        "train_shards": 2,
        "specimens": 20,
        "instruments": 4,
        "times": 3,
        "test_instruments": 2,
        "test_tiles": 16,
        "references": 6,
        "dose_min": 500.0,
        "dose_max": 5000.0,
        "dark": 80.0,
        "drift": 1.0,
        "shading_persistence": 0.9,
        "structure_persistence": 0.25,
        "seed": 0,
    }
    return Synthesize(**values | changes)
