"""Make stacks of noisy particles with known poses, as .mrcs and .star.

The split `train` holds the stacks of the published arm and the clean random particles of the corrected one, `test` the
stacks on which both are tested and the clean images of their particles.
"""

from pydantic import Field

from workflow_scripts.alignment.settings import Split, Synthesize
from workflow_scripts.alignment.simulation.datasets import write_files
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job


class Arguments(Synthesize):
    """The settings of the stage, which file to make, and on what it runs."""

    split: Split = Field(description="Which file: train or test.")
    shard: int = Field(ge=0, description="Number of the file within the split, from 0; the stack is shard<i>.mrcs.")
    gpus: int = Field(ge=0, description="GPUs that the job asks for; 0 runs on the CPU.")


def synthesize(job: Job[Arguments]) -> None:
    """Write one file; the same seed gives the same bytes on the same kind of device."""
    arguments = job.arguments
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
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
        optional_inputs={"sources": "Files that the settings name, for the provenance."},
    ).main()
