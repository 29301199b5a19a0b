"""Check the user's patterns and crystal before anything is trained, and write a report on them."""

from dataclasses import asdict

from pydantic import Field

from workflow_scripts.matching.apply.data import layout
from workflow_scripts.matching.apply.settings import Apply
from workflow_scripts.matching.apply.templates import templates
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_json


class Arguments(Apply):
    """The entry of the configuration, and the grid on which the network works."""

    diffraction: DiffractionSettings = Field(description="Settings of the study: the grid, and defaults of the entry.")


def check(job: Job[Arguments]) -> None:
    """Write the report on the patterns."""
    arguments = job.arguments
    recorded = layout(arguments, job.inputs["pattern_files"])
    crystal = load(arguments.crystal)
    small = templates(arguments.model_copy(update={"gallery": 50}), crystal, recorded, arguments.diffraction, "cpu")
    report = {
        "layout": asdict(recorded),
        "center_found_by": "symmetry of the mean pattern" if arguments.center_px is None else "you",
        "crystal": {
            "name": crystal.name,
            "atoms": len(crystal.symbols),
            "least_occupancy": float(crystal.occupancy.min()),
            "laue_rotations": len(small.symmetry),
        },
    }
    write_json(job.outputs["report"], report)


if __name__ == "__main__":
    Command(
        check,
        Arguments,
        inputs={"pattern_files": "The scan (.npy, .h5), or the images in the order of their names."},
        outputs={"report": "The report on them (.json)."},
        optional_inputs={"crystal_file": "The crystal (.cif, .cube), where one is named."},
    ).main()
