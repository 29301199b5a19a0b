"""Check the user's 4D-STEM scan: crop, bin and orient it, and report on it; a scan that cannot be used ends here."""

from workflow_scripts.diffractive_imaging.apply.data import checked_scan
from workflow_scripts.diffractive_imaging.apply.settings import Apply
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays, write_json


def check(job: Job[Apply]) -> None:
    """Write the scan as the stages take it, and the report on it."""
    (positions,) = job.inputs.get("positions_file", [None])
    (probe,) = job.inputs.get("probe_file", [None])
    checked = checked_scan(job.arguments, job.input("patterns_file"), positions, probe)
    write_arrays(job.outputs["scan"], checked.arrays())
    write_json(job.outputs["report"], checked.report)


if __name__ == "__main__":
    Command(
        check,
        Apply,
        inputs={"patterns_file": "The patterns (.npy or .h5)."},
        outputs={"scan": "The scan (.npz).", "report": "Disc, window, dose and orientation (.json)."},
        optional_inputs={
            "positions_file": "The scan positions (.npy or .h5).",
            "probe_file": "The probe wave (.npy).",
        },
    ).main()
