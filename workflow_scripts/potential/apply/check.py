"""Check the user's segmented images and convert their counts to shares of the beam, in the network's order."""

from pydantic import Field

from workflow_scripts.potential.apply.data import checked_images
from workflow_scripts.potential.apply.settings import Apply
from workflow_scripts.potential.settings import MicroscopeSettings
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays, write_json


class Arguments(Apply):
    """The entry of the configuration, and the microscope that the network is trained for."""

    microscope: MicroscopeSettings = Field(description="Microscope of the training images.")


def check(job: Job[Arguments]) -> None:
    """Write the images as the network expects them, and the report on them."""
    (patterns,) = job.inputs.get("patterns_file", [None])
    images = job.inputs.get("image_files", [])
    user_images, report = checked_images(job.arguments, images, patterns, job.arguments.microscope)
    write_arrays(job.outputs["shares"], user_images.arrays())
    write_json(job.outputs["report"], report)


if __name__ == "__main__":
    Command(
        check,
        Arguments,
        inputs={},
        outputs={"shares": "The images (.npz).", "report": "A report on them (.json)."},
        optional_inputs={
            "image_files": "The segment images, in the order of the configuration.",
            "patterns_file": "The patterns of a 4D-STEM scan (.npy or .h5).",
        },
    ).main()
