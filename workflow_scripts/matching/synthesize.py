"""Make pairs of patterns for training, or the gallery and the queries of the test."""

from workflow_scripts.learning.devices import job_device
from workflow_scripts.matching.settings import Synthesize
from workflow_scripts.matching.simulation.datasets import make
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import Device, FileChoice


class Arguments(Synthesize, FileChoice, Device):
    """The settings of the stage, which file to make, and the device."""


def synthesize(job: Job[Arguments]) -> None:
    """Write one file; the same seed gives the same bytes on the same kind of device."""
    arguments = job.arguments
    with job_device(job) as device:
        arrays = make(arguments, arguments.split, arguments.shard, device)
    write_arrays(job.outputs["arrays"], arrays)


if __name__ == "__main__":
    Command(
        synthesize,
        Arguments,
        inputs={},
        outputs={"arrays": "Training pairs, or gallery and queries (.npz)."},
        optional_inputs={"sources": "The crystal's file, where the settings name one, for the provenance."},
    ).main()
