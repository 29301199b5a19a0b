"""Make pairs of patterns for training, or the gallery and the queries of the test."""

from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.matching.settings import Split, Synthesize
from workflow_scripts.matching.simulation.datasets import make
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays


class Arguments(Synthesize):
    """The settings of the stage, which file to make, and the device."""

    split: Split = Field(description="Which file: train or test.")
    shard: int = Field(ge=0, description="Number of the file within the split, from 0.")
    gpus: int = Field(ge=0, description="GPUs that the job asks for; 0 runs on the CPU.")


def synthesize(job: Job[Arguments]) -> None:
    """Write one file; the same seed gives the same bytes on the same kind of device."""
    arguments = job.arguments
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        write_arrays(job.outputs["arrays"], make(arguments, arguments.split, arguments.shard, device))


if __name__ == "__main__":
    Command(
        synthesize,
        Arguments,
        inputs={},
        outputs={"arrays": "Training pairs, or gallery and queries (.npz)."},
        optional_inputs={"sources": "The crystal's file, where the settings name one, for the provenance."},
    ).main()
