"""Small settings and files of the stages of alignment."""

from workflow_scripts.alignment import synthesize
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.settings import check

MICROSCOPE = {
    "voltage_kv": 300.0,
    "cs_mm": 2.7,
    "amplitude_contrast": 0.07,
    "b_factor_a2": 50.0,
    "defocus_min_um": 0.5,
    "defocus_max_um": 2.0,
}
SYNTHESIZE = {
    "microscope": MICROSCOPE,
    "box_px": 48,
    "pixel_size_a": 5.0,
    "particles": ["groel_side", "asymmetric"],
    "dark_files": [],
    "snr": [1.0, 0.5],
    "coloured_snr": [1.0],
    "largest_shift_px": 4,
    "test_images": 24,
    "train_shards": 1,
    "train_images": 16,
    "random_particles": 8,
    "seed": 0,
    "gpus": 0,
    "split": "test",
    "shard": 0,
}
PREDICT = {"batch_size": 16, "rounds": 8, "gpus": 0, "precision": "float32", "training_seed": 0}
EVALUATE = {
    "baselines": ["polar_pairwise", "polar_joint"],
    "headline_snr": 1.0,
    "average_sizes": [8, 16, 300],
    "null_permutations": 20,
    "bootstrap_samples": 100,
    "seed": 0,
}


def made(folder, **changed):
    """The three files of the stage synthesize, by name."""
    arguments = check(synthesize.Arguments, SYNTHESIZE | changed)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"shard{arguments.shard}"
    paths = {
        "stack": stem.with_suffix(".mrcs"),
        "star": stem.with_suffix(".star"),
        "centres": stem.with_name(f"{stem.name}_centres.mrcs"),
    }
    synthesize.synthesize(Job(arguments, {}, paths, folder))
    return paths
