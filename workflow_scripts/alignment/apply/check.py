"""Read all of the user's particles once, so that files that cannot be used are reported before a network is trained."""

from pydantic import Field

from workflow_scripts.alignment.apply.data import check_images, open_user_particles, read_reference
from workflow_scripts.alignment.apply.settings import Apply
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_json


class Arguments(Apply):
    """The entry of the configuration, and the box of the network."""

    box_px: int = Field(ge=36, le=1024, description="Side of the network's box, to which images are resampled, px.")
    batch_size: int = Field(ge=1, description="Images that are read at once.")


def check(job: Job[Arguments]) -> None:
    """Write the report on the files."""
    arguments = job.arguments
    user, report = open_user_particles(arguments, job.input("particles_file"), arguments.box_px)
    for path in job.inputs.get("reference_file", []):
        read_reference(arguments, path, user)
    report["remarks"] += check_images(user, arguments.batch_size)
    write_json(job.outputs["report"], report)


if __name__ == "__main__":
    Command(
        check,
        Arguments,
        inputs={"particles_file": "The stack (.mrcs), or the list of images (.star, .xmd)."},
        outputs={"report": "The report on the files (.json)."},
        optional_inputs={
            "stack_files": "The stacks that the list names.",
            "reference_file": "The initial reference (.mrc, .png, .tif).",
        },
    ).main()
