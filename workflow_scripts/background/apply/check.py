"""Read the user's tiles and find their positions, so that files that cannot be used are reported before training."""

from workflow_scripts.background.apply.data import OPTIONAL_FILES, TILE_FILES, place, read_tiles
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_json


def check(job: Job[Apply]) -> None:
    """Write the report on the files."""
    tiles, report = read_tiles(job.arguments, job.inputs)
    placed = place(job.arguments, job.inputs, tiles)
    write_json(job.outputs["report"], report | placed | {"remarks": report["remarks"] + placed["remarks"]})


if __name__ == "__main__":
    Command(
        check,
        Apply,
        inputs=TILE_FILES,
        outputs={"report": "Contents of the files, positions of the tiles, and which overlap (.json)."},
        optional_inputs=OPTIONAL_FILES,
    ).main()
