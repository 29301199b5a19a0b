"""Jobs of the stage predict for tests."""

from importlib import import_module
from pathlib import Path

from pydantic import create_model

from tests.potential import toy_baseline, training
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.potential import estimators, predict
from workflow_scripts.potential.networks.encoding import input_channels, output_channels
from workflow_scripts.potential.networks.model import describe_network, make_network
from workflow_scripts.potential.settings import ARMS
from workflow_scripts.potential.simulation.estimation import Estimator
from workflow_scripts.study.estimators import FILE, read_registry
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.settings import check

REGISTRY_FILE = Path(predict.__file__).with_name(FILE)
REGISTRY = read_registry(REGISTRY_FILE)
TOY_ENTRY = "toy_baseline: {kind: classical, label: toy}\n"
OPTIONS = {"ridge": {"kernel_px": [3, 5]}, "network": {"batch_size": 16}}
PREDICT = {
    "dose_e_per_a2": [1e4, 1e5],
    "control_dose_e_per_a2": 1e5,
    "thickness_error_percent": [10.0],
    "seed": 0,
    "gpus": 0,
    "precision": "float32",
    "training_seed": 0,
    "held_out_material": "GaN",
}


def predict_job(folder, estimator, **inputs) -> Job:
    """A job whose predictions go to `<folder>/<estimator>.npz`; inputs are lists of paths.

    The toy baseline is no entry of the registry.
    """
    name = REGISTRY[estimator].module
    implementation = import_module(f"{estimators.__name__}.{name}") if name else toy_baseline
    model, settings = predict.Arguments, PREDICT | {"estimator": estimator, "module": name or estimator}
    if name in OPTIONS:
        model = create_model("Arguments", __base__=model, options=(implementation.Options, ...))
        settings = settings | {"options": OPTIONS[name]}
    outputs = {"predictions": folder / f"{estimator}.npz"}
    return Job(check(model, settings), inputs, outputs, folder, implementation)


def baseline(name, shards) -> Estimator:
    """A fitted baseline."""
    job = predict_job(Path(), name, shards=shards)
    return job.implementation.make(job)


def weights(folder, arm):
    """A file of weights of an untrained network of the arm."""
    channels = input_channels(ARMS[arm]), output_channels(ARMS[arm])
    path = folder / f"{arm}.safetensors"
    network = make_network(training.network(), *channels, seed=0)
    save_weights(network.state_dict(), path, describe_network(training.network(), *channels))
    return path
