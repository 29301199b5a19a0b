"""Cut phase objects from photographs and synthetic images, and simulate what the detector counts.

The split `train` holds the objects of training and validation, `test` the frozen 1/f test set and the scans.
"""

from pathlib import Path

import numpy as np

from workflow_scripts.diffractive_imaging.settings import Synthesize
from workflow_scripts.diffractive_imaging.simulation import datasets, photographs, sources
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import FileChoice


class Arguments(Synthesize, FileChoice):
    """The settings of the stage and which file to make."""


def synthesize(job: Job[Arguments]) -> None:
    """Write one shard; the same seed gives the same bytes."""
    arguments = job.arguments
    (probe_file,) = job.inputs.get("probe", [arguments.probe.file and Path(arguments.probe.file)])
    if "illumination" in job.inputs:
        light = datasets.Illumination.read(job.input("illumination"))
    else:
        light = datasets.illumination(arguments.probe, arguments.dose_e, probe_file)

    def files(split: str) -> list:
        if split in job.inputs:
            return job.inputs[split]
        shipped = sources.photographs(arguments.photographs, split, arguments.shard, arguments.train_shards)
        # The smallest of them are too small for windows larger than the default.
        return photographs.large_enough(shipped, 2 * light.n) or shipped

    rng = np.random.default_rng([arguments.seed, arguments.split == "test", arguments.shard])
    if arguments.split == "train":
        arrays = datasets.training_set(arguments, light, files("train"), files("validation"), rng)
    else:
        arrays = datasets.test_set(arguments, light, files("test"), rng)
    write_arrays(job.outputs["arrays"], arrays)


if __name__ == "__main__":
    Command(
        synthesize,
        Arguments,
        inputs={},
        outputs={"arrays": "The objects and their patterns (.npz)."},
        optional_inputs={
            "probe": "The probe wave (.npy); without it the settings give the probe.",
            "illumination": "A checked scan (.npz), whose probe and dose take the place of those in the settings.",
            "train": "Photographs to train on; without them those that ship with scikit-image and scikit-learn.",
            "validation": "Photographs to validate on.",
            "test": "Photographs to test on.",
        },
    ).main()
