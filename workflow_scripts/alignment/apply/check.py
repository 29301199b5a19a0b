"""Read the user's particles once: what cannot be aligned ends here, before a network is trained."""

from pydantic import Field

from workflow_scripts.alignment.apply.data import check_images, open_own, read_reference
from workflow_scripts.alignment.apply.settings import Apply
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_json


class Arguments(Apply):
    """The entry of the configuration, and the network's box."""

    box_px: int = Field(ge=36, le=1024, description="Pixels along each side of the box in which the network works.")
    batch_size: int = Field(ge=1, description="Images that are read at once.")


def run(job: Job[Arguments]) -> None:
    """Write the report on the files."""
    arguments = job.arguments
    own, report = open_own(arguments, job.input("particles_file"), arguments.box_px)
    for path in job.inputs.get("reference_file", []):
        read_reference(arguments, path, own)
    report["remarks"] += check_images(own, arguments.batch_size)
    write_json(job.outputs["report"], report)


if __name__ == "__main__":
    Command(
        run,
        Arguments,
        inputs={"particles_file": "The stack (.mrcs), or the list of images (.star, .xmd)."},
        outputs={"report": "What was found in them (.json)."},
        optional_inputs={
            "stack_files": "The stacks that the list names.",
            "reference_file": "The image to begin from (.mrc, .png, .tif).",
        },
    ).main()
