"""Read the user's tiles once and put them together: what cannot be corrected ends here, before a network is trained."""

from workflow_scripts.background.apply.data import Files, place, read_own
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_json

TILES = {"tile_files": "The raw tiles (.tif, .tiff, .xrm, .txrm)."}
BESIDE = {
    "dark_files": "Dark frames.",
    "reference_files": "Images without a specimen.",
    "layout_file": "Stage layout of the tiles (TileConfiguration.txt).",
}


def run(job: Job[Apply]) -> None:
    """Write the report on the files."""
    files = Files.of(job.inputs)
    own, report = read_own(job.arguments, files)
    placed = place(job.arguments, files, own)
    write_json(job.outputs["report"], report | placed | {"remarks": report["remarks"] + placed["remarks"]})


if __name__ == "__main__":
    Command(
        run,
        Apply,
        inputs=TILES,
        outputs={"report": "What was found in them, where they lie and which overlap (.json)."},
        optional_inputs=BESIDE,
    ).main()
