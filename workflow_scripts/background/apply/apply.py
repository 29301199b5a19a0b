"""The user's tiles corrected by the corrected arm's network, with what can be measured without the truth."""

import numpy as np
from pydantic import Field

from workflow_scripts.background.apply.check import BESIDE, TILES
from workflow_scripts.background.apply.correction import corrected, flats_of
from workflow_scripts.background.apply.data import Files, judging, read_own
from workflow_scripts.background.apply.output import write_stack, write_tiles_picture
from workflow_scripts.background.apply.quality import chosen_overlaps, quality
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.estimators.network import NetworkEstimator, Sampling
from workflow_scripts.background.networks.model import load_network
from workflow_scripts.background.networks.variants import UNET
from workflow_scripts.background.settings import SamplerSettings
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json, write_json
from workflow_scripts.workflow.settings import Compute

ARM = "corrected"
_SAMPLES_OF_ABSORBERS = 2  # of a network for tiles with injected absorbers: their mean hardly depends on the number


class Arguments(Compute):
    """The entry of the configuration, and how the network is sampled."""

    name: str = Field(description="Name of the tiles in the configuration.")
    entry: Apply = Field(description="The entry of the configuration.")
    sampling: SamplerSettings = Field(description="How the network answers.")


def apply(job: Job[Arguments]) -> None:
    """Write corrected tiles, backgrounds, uncertainties, a picture, and the report on their quality."""
    arguments, report = job.arguments, read_json(job.input("report"))
    entry = arguments.entry
    own, _ = read_own(entry, Files.of(job.inputs))
    overlaps = judging(report)
    ends = sorted({index for overlap in chosen_overlaps(overlaps) for index in (overlap.first, overlap.second)})
    networks = {}
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        for arm, path in ((UNET, "unet"), (ARM, "weights")):
            if path not in job.inputs:
                continue
            network, about = load_network(job.input(path), arm)
            options = arguments.sampling
            shared = options.batch_size, options.seed, device, arguments.precision
            whole, quick = (
                NetworkEstimator(network, arm, about["side_px"], Sampling(options.steps, samples, *shared))
                for samples in (options.samples, _SAMPLES_OF_ABSORBERS)
            )
            flats, spreads = flats_of(whole, own.logs, own.valid, entry.neighbours)
            networks[arm] = (
                flats,
                lambda logs, quick=quick: flats_of(quick, logs, own.valid, entry.neighbours, ends)[0],
            )
        estimators = quality(own, overlaps, networks)
    positions = None if report["positions_px"] is None else np.array(report["positions_px"])
    result = corrected(entry, own, flats, spreads, positions)
    size_um = report["pixel_size_um"]
    for name, images, what in (
        ("corrected", result.density, result.quantity),
        ("background", np.exp(result.log_flats), "flat field, geometric mean 1"),
        ("uncertainty", result.spreads, "standard deviation of the optical density's samples"),
    ):
        write_stack(job.outputs[name], images, own.names, what, size_um)
    write_tiles_picture(job.outputs["png"], own.logs, result, own.names)
    about_quality = {
        "estimators": estimators,
        "judging_overlaps": len(overlaps),
        "judged_tiles_were_shown": bool(report["shown"]) and _shown(report, overlaps),
    }
    scale = {"quantity": result.quantity, "scale_from": dict(zip(own.names, result.scale_from, strict=True))}
    write_json(
        job.outputs["quality"],
        report | scale | {"name": arguments.name, "neighbours": entry.neighbours, "quality": about_quality},
    )


def _shown(report: dict, overlaps: list) -> bool:
    return any(
        report["tiles"][index] in report["shown"] for overlap in overlaps for index in (overlap.first, overlap.second)
    )


if __name__ == "__main__":
    Command(
        apply,
        Arguments,
        inputs=TILES
        | {
            "report": "The report on them (.json).",
            "weights": "Weights of the corrected arm, adapted or not (.safetensors).",
        },
        outputs={
            "corrected": "Optical density of every tile (.tif).",
            "background": "Flat field of every tile (.tif).",
            "uncertainty": "Spread of the samples of every tile (.tif).",
            "png": "Some tiles before and after (.png).",
            "quality": "The report on the files, and on the correction (.json).",
        },
        optional_inputs=BESIDE | {"unet": "Weights of plain regression, to stand beside (.safetensors)."},
    ).main()
