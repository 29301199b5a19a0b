"""Make stacks of noisy particles with known poses, as .mrcs and .star.

The split `train` holds the stacks of the published arm and the clean random particles of the corrected one, `test` the
stacks on which both are tested and the clean images of their particles.
"""

from workflow_scripts.alignment.settings import Synthesize
from workflow_scripts.alignment.simulation.datasets import write_files
from workflow_scripts.learning.devices import job_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.settings import Device, FileChoice


class Arguments(Synthesize, FileChoice, Device):
    """The settings of the stage, the file to make, and the device."""


def synthesize(job: Job[Arguments]) -> None:
    """Write one file; the same seed gives the same bytes on the same kind of device."""
    arguments = job.arguments
    with job_device(job) as device:
        write_files(arguments, arguments.split, arguments.shard, job.outputs, device)


if __name__ == "__main__":
    Command(
        synthesize,
        Arguments,
        inputs={},
        outputs={
            "stack": "The images (.mrcs).",
            "star": "The list of the images with their poses (.star).",
            "centres": "Clean images: of the particles, or of the random particles of training (.mrcs).",
        },
        optional_inputs={"sources": "Files named in the settings, recorded in the provenance."},
    ).main()
