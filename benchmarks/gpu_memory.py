"""State what each training keeps in GPU memory, computed from the merged settings of a scale.

    python -m benchmarks.gpu_memory
    python -m benchmarks.gpu_memory --write docs/gpu.md

Counted are the float32 tensors that a task keeps on the device from its first step to its last; indices and the like,
networks, optimizers and what a step itself needs come on top. A test measures the same at `smoke`.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.resources import write
from workflow_scripts.background.networks.conditions import CHANNELS
from workflow_scripts.background.simulation.datasets import SPECIMEN_SHARE
from workflow_scripts.diffractive_imaging.networks.scan_task import RIM_PX
from workflow_scripts.diffractive_imaging.simulation.forward import UPSAMPLING
from workflow_scripts.workflow.reference import merged

BEGIN, END = "<!-- computed by benchmarks.gpu_memory -->", "<!-- end of the memory -->"
COLUMNS = ("method", "stage", "arm", "kept on the GPU", "MB")
FLOAT32 = 4  # bytes
NUMBERS_OF_A_PAIR = 830  # spots and recording of a pair of `matching`, about, as measured at smoke, laptop and gpu

Row = tuple[str, str, str, str, int]  # the columns; the size as numbers of float32


def rows(config: dict[str, Any]) -> Iterator[Row]:
    """Every training of a merged configuration, as in the columns."""
    for method, computed in _METHODS.items():
        for stage, arm, *sizes in computed(config[method]):
            yield (method, stage, arm, *sizes)


def _diffractive_imaging(settings: dict[str, Any]) -> Iterator[tuple]:
    made = settings["synthesize"]
    n, scan = made["probe"]["detector_px"], made["scan"]
    examples = made["train_shards"] * made["samples_per_shard"]
    for arm in ("corrected", "published"):
        yield ("pretrain", arm, "pattern, counts and patch of every example", examples * 3 * n**2)
    # Patterns near the rim are left out; the image around the others has a window beyond them on each side
    inner = scan["points"] - 2 * RIM_PX / scan["step_px"]
    scans = scan["photographs"] + 1 + len(scan["crystals"])
    side_px = UPSAMPLING * ((scan["points"] - 1) * scan["step_px"] + 2 * n + n / UPSAMPLING)
    kept = scans * (inner**2 * n**2 + side_px**2)
    yield ("finetune", "corrected", "counts and stitched image of every scan, about", round(kept))


def _potential(settings: dict[str, Any]) -> Iterator[tuple]:
    made, files = settings["synthesize"], settings["synthesize"]["train_shards"]
    views = files * made["orientations"] * made["views"] * len(made["thickness_nm"])
    pixels = made["side_px"] ** 2
    both, ring = 2 * 4 + 2, 4 + 2  # images of two detectors or one, and two potentials
    materials = len(made["materials"])
    yield ("pretrain", "corrected", "images and potentials", views * (materials - 1) * both * pixels)
    yield (
        "pretrain",
        "published",
        "the same of patches, on the ring alone",
        views * materials * ring * pixels,
    )
    yield ("finetune", "corrected", "images and potentials", settings["finetune"]["samples"] * both * pixels)


def _alignment(settings: dict[str, Any]) -> Iterator[tuple]:
    made, pixels = settings["synthesize"], settings["synthesize"]["box_px"] ** 2
    random, kinds = made["train_shards"] * made["random_particles"], len(made["particles"])
    noisy = made["train_shards"] * kinds * made["train_images"]
    stacks = kinds * (len(made["snr"]) + len(made["coloured_snr"]))
    drawn = random - max(1, round(0.1 * random))  # a tenth validates
    averages = stacks * max(1, drawn // stacks)
    yield ("pretrain", "corrected", "clean random particles", random * pixels)
    yield ("pretrain", "published", "noisy images", noisy * pixels)
    yield ("finetune", "corrected", "random particles and as many averages", (random + averages) * pixels)
    yield ("finetune", "published", "noisy images of the stacks", stacks * made["test_images"] * pixels)


def _background(settings: dict[str, Any]) -> Iterator[tuple]:
    made, times = settings["synthesize"], settings["synthesize"]["times"]
    pixels, piece = made["side_px"] ** 2, round(SPECIMEN_SHARE * made["side_px"]) ** 2
    pieces, sessions = (made["train_shards"] * made[name] for name in ("specimens", "instruments"))
    tested = made["test_instruments"]

    def training(number: int) -> int:
        return number - max(1, number // 4)  # the rest validates: its items alone stay

    moments = {
        ("pretrain", "corrected"): training(sessions) * times,
        ("pretrain", "published"): (sessions + tested) * times,
        ("finetune", "corrected"): tested * training(times),
        ("finetune", "published"): tested * times,
    }
    for (stage, arm), flats in moments.items():
        is_corrected = arm == "corrected"
        specimens = training(pieces) if is_corrected else pieces
        images = (len(CHANNELS) if is_corrected else 2) + 3  # of an item: channels, target, valid pixels, noise
        kept = specimens * piece + (flats + settings[stage]["validation_pairs"] * images) * pixels
        yield (stage, arm, "specimens and flat fields; the validation's items", kept)


def _matching(settings: dict[str, Any]) -> Iterator[tuple]:
    made, trained = settings["synthesize"], settings["pretrain"]
    pixels, network = made["diffraction"]["side_px"] ** 2, trained["network"]
    groups = len(made["dose_e"]) + 5  # of plain queries at each dose, and of five other kinds
    extra = (groups * made["queries"] + made["map_px"] ** 2) * pixels
    pairs = made["train_shards"] * made["train_patterns"] * NUMBERS_OF_A_PAIR
    key = network["rings"] * network["angles"]
    yield ("pretrain", "corrected", "spots of every pair, keys of the queue", pairs + trained["queue"] * key)
    keys = trained["queue"] * network["embedding"]
    yield ("pretrain", "published", "spots of every pair, keys of the queue, test patterns", pairs + keys + extra)
    for arm in ("corrected", "published"):
        yield ("finetune", arm, "spots of every pair", pairs)


_METHODS = {
    "diffractive_imaging": _diffractive_imaging,
    "potential": _potential,
    "alignment": _alignment,
    "background": _background,
    "matching": _matching,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="gpu", help="default: gpu")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this document's marks")
    options = parser.parse_args(arguments)

    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for *words, numbers in rows(merged(options.scale)):
        lines.append(f"| {' | '.join([*words, f'{numbers * FLOAT32 / 1e6:.0f}'])} |")
    print("\n".join(lines))
    if options.write:
        write(options.write, lines, BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
