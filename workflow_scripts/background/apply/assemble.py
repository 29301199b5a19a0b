"""Assemble the user's corrected tiles to one image, blended where they overlap, with a picture before and after."""

import numpy as np
import tifffile

from workflow_scripts.background.apply.correction import UP_TO_CONSTANT
from workflow_scripts.background.apply.data import OPTIONAL_FILES, TILE_FILES, read_tiles
from workflow_scripts.background.apply.mosaic import blended
from workflow_scripts.background.apply.output import write_mosaic_picture, write_stack
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_json


def assemble(job: Job[Apply]) -> None:
    """Write the mosaic and its picture."""
    quality = read_json(job.input("quality"))
    if quality["positions_px"] is None:
        raise InputError("the positions of the tiles are unknown, so there is no mosaic; give layout or grid")
    tiles, _ = read_tiles(job.arguments, job.inputs)
    positions = np.array(quality["positions_px"])
    density, quantity = tifffile.imread(job.input("corrected")), quality["quantity"]
    after = blended(density, positions, level=quantity == UP_TO_CONSTANT)
    recorded = -tiles.logs - tiles.levels[:, None, None] + tiles.levels.mean()
    before = blended(np.where(tiles.valid, recorded, np.nan), positions, level=False)
    write_stack(job.outputs["mosaic"], after[None], ["mosaic"], quantity, quality["pixel_size_um"])
    write_mosaic_picture(job.outputs["png"], before, after, quality["quality"]["estimators"], quantity)


if __name__ == "__main__":
    Command(
        assemble,
        Apply,
        inputs=TILE_FILES
        | {
            "corrected": "The corrected tiles (.tif).",
            "quality": "The report on their quality (.json).",
        },
        outputs={
            "mosaic": "The mosaic (.tif), NaN where there is no tile.",
            "png": "The mosaic before and after correction (.png).",
        },
        optional_inputs=OPTIONAL_FILES,
    ).main()
