"""Small settings and files of the stages of alignment."""

from pathlib import Path

from pydantic import create_model

from workflow_scripts.alignment import predict, synthesize
from workflow_scripts.alignment.settings import MicroscopeSettings
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.settings import check

REGISTRY = Path(predict.__file__).with_name("estimators.yaml")
MICROSCOPE = {
    "voltage_kv": 300.0,
    "cs_mm": 2.7,
    "amplitude_contrast": 0.07,
    "b_factor_a2": 50.0,
    "defocus_min_um": 0.5,
    "defocus_max_um": 2.0,
}
SCOPE = check(MicroscopeSettings, MICROSCOPE)
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
PAIRWISE = {"step_deg": 4.0, "information_share": 0.97, "smallest_ring": 8, "largest_ring": 20}
JOINT = {"starts": 2, "search_rings": [10, 12], "refine_rings": [12, 20], "reach_px": 10.0}
EVALUATE = {
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


def predicted(folder, module, star, stack, inputs=None, **options):
    """The file of the stage predict, by a module of estimators/ whose settings are `options`."""
    model = predict.EstimatorChoice
    if options:
        model = create_model("Arguments", __base__=model, options=(module.Options, ...))
    name = module.__name__.rsplit(".", 1)[-1]
    values = {"estimator": name, "module": name, "training_seed": 0, "gpus": 0, "precision": "float32"}
    arguments = check(model, values | ({"options": options} if options else {}))
    paths = {"star": [star], "stack": [stack]} | (inputs or {})
    predictions = folder / f"{name}.npz"
    predict.predict(Job(arguments, paths, {"predictions": predictions}, folder, module))
    return predictions
