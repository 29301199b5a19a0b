"""Correct the user's tiles by the corrected arm's network, with measures of quality that need no ground truth."""

import numpy as np
from pydantic import Field

from workflow_scripts.background.apply.correction import corrected, flats_of
from workflow_scripts.background.apply.data import OPTIONAL_FILES, TILE_FILES, read_tiles, validation_overlaps
from workflow_scripts.background.apply.output import write_stack, write_tiles_picture
from workflow_scripts.background.apply.quality import chosen_overlaps, quality
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.estimators.network import NetworkEstimator
from workflow_scripts.background.settings import RECOMMENDED, SamplerSettings
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json, write_json
from workflow_scripts.workflow.settings import Compute

_SAMPLES_OF_ABSORBERS = 2  # samples for tiles with injected absorbers, whose mean hardly depends on their number


class Arguments(Compute):
    """The entry of the configuration, the settings of the sampler, and the device."""

    name: str = Field(description="Name of the entry in the configuration.")
    entry: Apply = Field(description="The entry of the configuration.")
    sampling: SamplerSettings = Field(description="How the network is sampled.")


def apply(job: Job[Arguments]) -> None:
    """Write corrected tiles, backgrounds, uncertainties, a picture, and the report on their quality."""
    arguments, entry, report = job.arguments, job.arguments.entry, read_json(job.input("report"))
    tiles, _ = read_tiles(entry, job.inputs)
    overlaps = validation_overlaps(report)
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        weights, sampling = job.input("weights"), arguments.sampling
        estimator = NetworkEstimator.load(weights, RECOMMENDED, sampling, device, arguments.precision)
        flats, spreads = flats_of(estimator, tiles.logs, tiles.valid, entry.neighbours)
        quick = estimator.with_sampling(samples=_SAMPLES_OF_ABSORBERS)
        ends = sorted({index for overlap in chosen_overlaps(overlaps) for index in (overlap.first, overlap.second)})

        def with_absorbers(logs: np.ndarray) -> np.ndarray:
            return flats_of(quick, logs, tiles.valid, entry.neighbours, ends)[0]

        estimators = quality(tiles, overlaps, flats, with_absorbers)
    positions = None if report["positions_px"] is None else np.array(report["positions_px"])
    result = corrected(entry, tiles, flats, positions)
    for name, images, quantity in (
        ("corrected", result.density, result.quantity),
        ("background", np.exp(flats), "flat field, geometric mean 1"),
        ("uncertainty", spreads, "standard deviation of the optical density's samples"),
    ):
        write_stack(job.outputs[name], images, tiles.names, quantity, report["pixel_size_um"])
    write_tiles_picture(job.outputs["png"], tiles, flats, spreads, result)
    compared = {report["tiles"][index] for overlap in overlaps for index in (overlap.first, overlap.second)}
    report["quantity"] = result.quantity
    report["scale_from"] = dict(zip(tiles.names, result.scale_from, strict=True))
    report |= {"name": arguments.name, "neighbours": entry.neighbours}
    report["quality"] = {
        "estimators": estimators,
        "judging_overlaps": len(overlaps),
        "judged_tiles_were_shown": not compared.isdisjoint(report["shown"]),
    }
    write_json(job.outputs["quality"], report)


if __name__ == "__main__":
    Command(
        apply,
        Arguments,
        inputs=TILE_FILES
        | {
            "report": "The report of check.py on these files (.json).",
            "weights": "Weights of the corrected arm from adapt.py (.safetensors).",
        },
        outputs={
            "corrected": "Optical density of every tile (.tif).",
            "background": "Flat field of every tile (.tif).",
            "uncertainty": "Spread of the samples of every tile (.tif).",
            "png": "Some tiles before and after correction (.png).",
            "quality": "The report on the files and on the correction (.json).",
        },
        optional_inputs=OPTIONAL_FILES,
    ).main()
