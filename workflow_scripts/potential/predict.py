"""The potentials of the test samples by one estimator: at every dose, and as images of each detector."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from pydantic import Field

from workflow_scripts.learning.devices import job_device
from workflow_scripts.potential.settings import SharedPredict
from workflow_scripts.potential.simulation.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.simulation.estimation import Estimator
from workflow_scripts.potential.simulation.samples import RING, Samples, read_samples
from workflow_scripts.study.conditions import condition, parse_condition
from workflow_scripts.study.predictions import WEIGHTS_AND_SHARDS, write_predictions
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import EstimatorChoice


class Arguments(SharedPredict, EstimatorChoice):
    """The settings of the stage, the estimator, and on what it runs."""

    held_out_material: str = Field(description="The material that no baseline is fitted on.")


def predict(job: Job[Arguments]) -> None:
    """Write the potentials of all test samples: at all doses and without noise, for all detectors that it accepts.

    With the recipe's ring, at one dose, also the controls: shuffled metadata, wrong thickness labels, and the samples
    under other settings of the microscope. For each stage and condition one array: potential float32 (N, H, W), V Å, of
    the N samples of the condition's setting of the microscope.

    Raises:
        InputError: `control_dose_e_per_a2` is none of `dose_e_per_a2`.
    """
    arguments = job.arguments
    if arguments.control_dose_e_per_a2 not in arguments.dose_e_per_a2:
        raise InputError(
            f"potential.predict.control_dose_e_per_a2 is {arguments.control_dose_e_per_a2:g}, but must be one of"
            " potential.predict.dose_e_per_a2"
        )
    samples = read_samples([job.input("test")])
    usual = samples.under("")
    predicted = {}
    with job_device(job):
        estimator: Estimator = job.implementation.make(job)
        doses = [*arguments.dose_e_per_a2, *([NOISE_FREE] if estimator.without_noise else [])]
        conditions = [(usual, detector, dose, {}) for detector, dose in product(estimator.detectors, doses)]
        if estimator.without_noise:  # the arms of the ablation have no controls
            for seen, control in _controls(samples, usual, arguments, estimator.shuffled_metadata):
                conditions.append((seen, RING, arguments.control_dose_e_per_a2, control))
        for (stage, estimate), (seen, detector, dose, control) in product(estimator.stages.items(), conditions):
            shares = measured_shares(seen, detector, dose, arguments.seed)
            key = stage, condition(detector=detector, dose_e_per_a2=dose, **control)
            predicted[key] = estimate(seen, shares, detector, dose)
    write_predictions(
        job.outputs["predictions"],
        arguments.estimator,
        arguments.training_seed,
        {key: {"potential": np.asarray(potential, np.float32)} for key, potential in predicted.items()},
        count_seed=arguments.seed,
    )


def _controls(
    samples: Samples, usual: Samples, arguments: Arguments, shuffled_metadata: bool
) -> Iterator[tuple[Samples, dict[str, str | float]]]:
    """What an estimator is given in the controls, and the key of their condition; `usual` are the other samples."""
    if shuffled_metadata:
        yield with_shuffled_metadata(usual, arguments.seed), {"metadata": "shuffled"}
    for percent in arguments.thickness_error_percent:
        wrong = replace(usual, thickness_nm=usual.thickness_nm * (1 + percent / 100))
        yield wrong, {"thickness_error_percent": percent}
    for setting in sorted(set(samples.setting.tolist()) - {""}):
        yield samples.under(setting), parse_condition(setting)


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
