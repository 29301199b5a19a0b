"""Settings of the stage synthesize, small enough for tests."""

from workflow_scripts.potential.settings import Synthesize

SMALL = {
    "microscope": {
        "voltage_kv": 200.0,
        "semiangle_mrad": 20.0,
        "defocus_a": 0.0,
        "cs_mm": 0.0,
        "source_size_a": 0.2,
        "ring_mrad": (10.0, 40.0),
        "matched_ring_mrad": (0.0, 20.0),
    },
    "multislice": {
        "pixel_a": 0.2,
        "slice_a": 2.7,
        "field_a": 7.0,
        "phonon_configurations": 0,
        "memory_mib": 512,
    },
    "patch": {"side_share": 0.7, "slice_a": 3.0},
    "materials": ("GaN", "MoS2", "SrTiO3"),
    "held_out_material": "GaN",
    "side_px": 32,
    "pixel_size_a": 0.25,
    "thickness_nm": (2.0, 4.0),
    "test_thickness_nm": (2.0, 4.0),
    "tilt_std_deg": 0.3,
    "zone_axis_share": 0.25,
    "train_shards": 1,
    "orientations": 1,
    "views": 2,
    "test_orientations": 1,
    "test_orientations_held_out": 2,
    "test_views": 1,
    "test_patches": 1,
    "conditions": {"thickness_nm": 2.0, "defocus_a": (50.0,), "source_size_a": (0.5,)},
    "seed": 0,
}


def small(**changed) -> Synthesize:
    """The settings with some keys changed."""
    return Synthesize.model_validate(SMALL | changed)
