"""The potentials of the test samples by one estimator: at every dose, and as images of each detector."""

from dataclasses import replace
from itertools import product

import numpy as np
from pydantic import Field

from workflow_scripts.learning.devices import job_device
from workflow_scripts.potential.settings import SharedPredict
from workflow_scripts.potential.simulation.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.simulation.estimation import Estimator
from workflow_scripts.potential.simulation.samples import Samples, read_samples
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.predictions import WEIGHTS_AND_SHARDS, write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import EstimatorChoice


class Arguments(SharedPredict, EstimatorChoice):
    """The settings of the stage, the estimator, and on what it runs."""

    held_out_material: str = Field(description="The material that no baseline is fitted on.")


def predict(job: Job[Arguments]) -> None:
    """Write the potentials of all test samples: at all doses and without noise, for all detectors that it accepts.

    For each stage and condition one array: potential float32 (N, H, W), V Å.
    """
    arguments = job.arguments
    samples = read_samples([job.input("test")])
    shuffled = with_shuffled_metadata(samples, arguments.seed)
    predicted = {}
    with job_device(job):
        estimator: Estimator = job.implementation.make(job)
        doses = [*arguments.dose_e_per_a2, *([NOISE_FREE] if estimator.without_noise else [])]
        for (stage, estimate), detector, dose in product(estimator.stages.items(), estimator.detectors, doses):
            shares = measured_shares(samples, detector, dose, arguments.seed)
            measured = {"detector": detector, "dose_e_per_a2": dose}
            predicted[stage, condition(**measured)] = estimate(samples, shares, detector, dose)
            if estimator.shuffled_metadata and dose != NOISE_FREE:
                control = condition(**measured, metadata="shuffled")
                predicted[stage, control] = estimate(shuffled, shares, detector, dose)
    write_predictions(
        job.outputs["predictions"],
        arguments.estimator,
        arguments.training_seed,
        {key: {"potential": np.asarray(potential, np.float32)} for key, potential in predicted.items()},
        count_seed=arguments.seed,
    )


def with_shuffled_metadata(samples: Samples, seed: int) -> Samples:
    """The samples with thickness and rotation of another sample of their kind.

    A control: the positions of the atoms must come from the images, so shuffling may not improve them.
    """
    place = np.arange(len(samples))
    for kind in np.unique(samples.kind):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(samples.kind == kind))
        place[rows] = np.roll(rows, 1)
    return replace(samples, thickness_nm=samples.thickness_nm[place], rotation_deg=samples.rotation_deg[place])


if __name__ == "__main__":
    Command(
        predict,
        Arguments,
        inputs={"test": "Test file of the stage synthesize (.npz)."},
        outputs={"predictions": "Potentials (.npz)."},
        optional_inputs=WEIGHTS_AND_SHARDS,
        implementations="workflow_scripts.potential.estimators",
    ).main()
