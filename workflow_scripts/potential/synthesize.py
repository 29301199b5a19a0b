"""Simulate segmented images of crystals and the projected potential behind them.

The split `train` holds the samples of training, validation and finetuning, `test` the samples of the evaluation.
"""

from workflow_scripts.learning.devices import job_device
from workflow_scripts.potential.settings import Synthesize
from workflow_scripts.potential.simulation.datasets import make_samples
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import Device, FileChoice


class Arguments(Synthesize, FileChoice, Device):
    """The settings of the stage, which file to make, and on what it runs."""


def synthesize(job: Job[Arguments]) -> None:
    """Write one file; the same seed gives the same bytes."""
    arguments = job.arguments
    with job_device(job) as device:
        samples = make_samples(arguments, arguments.split, arguments.shard, device)
    write_arrays(job.outputs["arrays"], samples.arrays())


if __name__ == "__main__":
    Command(
        synthesize,
        Arguments,
        inputs={},
        outputs={"arrays": "The samples (.npz)."},
        optional_inputs={"sources": "Structures that the settings name (.cif, .cube), for the provenance."},
    ).main()
