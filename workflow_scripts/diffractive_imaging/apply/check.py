"""Read the user's 4D-STEM scan: crop, bin, orient, and say what was found; a scan that cannot be used ends here."""

from workflow_scripts.diffractive_imaging.apply.data import prepare
from workflow_scripts.diffractive_imaging.settings import Apply
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays, write_json


def run(job: Job[Apply]) -> None:
    """Write the scan as the stages take it, and the report on it."""
    (positions,) = job.inputs.get("positions_file", [None])
    (probe,) = job.inputs.get("probe_file", [None])
    prepared = prepare(job.arguments, job.input("patterns_file"), positions, probe)
    write_arrays(job.outputs["scan"], prepared.arrays())
    write_json(job.outputs["report"], prepared.report)


if __name__ == "__main__":
    Command(
        run,
        Apply,
        inputs={"patterns_file": "The patterns (.npy or .h5)."},
        outputs={"scan": "The scan (.npz).", "report": "Disc, window, dose and orientation (.json)."},
        optional_inputs={
            "positions_file": "The scan positions (.npy or .h5).",
            "probe_file": "The probe wave (.npy).",
        },
    ).main()
