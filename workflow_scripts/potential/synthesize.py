"""Simulate segmented images of crystals and the projected potential behind them.

The split `train` holds the samples of training, validation and finetuning, `test` the samples of the evaluation.
"""

from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.potential.settings import Split, Synthesize
from workflow_scripts.potential.simulation.datasets import make_samples
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays


class Arguments(Synthesize):
    """The settings of the stage, which file to make, and on what it runs."""

    split: Split = Field(description="Which file: train or test.")
    shard: int = Field(ge=0, description="Number of the file within the split, from 0.")
    gpus: int = Field(ge=0, description="GPUs that the job asks for; 0 runs on the CPU.")


def synthesize(job: Job[Arguments]) -> None:
    """Write one file; the same seed gives the same bytes."""
    arguments = job.arguments
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
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
