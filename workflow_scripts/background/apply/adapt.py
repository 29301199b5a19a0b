"""Finetune the corrected arm's network on flat fields of the user's microscope, or copy its weights unchanged."""

from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from workflow_scripts.background.apply.data import OPTIONAL_FILES, TILE_FILES, UserTiles, read_tiles, training_part
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.estimators.network import binned, smooth
from workflow_scripts.background.networks.model import load_network
from workflow_scripts.background.networks.tasks import BackgroundTask, finetuning_split
from workflow_scripts.background.settings import ARMS, RECOMMENDED, Finetune
from workflow_scripts.background.simulation.tile_files import TrainingTiles, read_training_tiles
from workflow_scripts.learning.stages import train_for, training_device, write_trained
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.settings import Compute

MOMENTS = 4  # measured flat fields, each from a different subset of the images
_WINDOWS = 64  # windows cut from a large tile


class Arguments(Compute):
    """The entry of the configuration, the settings of the training, and the device."""

    entry: Apply = Field(description="The entry of the configuration.")
    training: Finetune = Field(description="Settings of the training.")
    seed: int = Field(ge=0, description="Seed of the windows, of shuffles and of the random sets of tiles.")


def adapt(job: Job[Arguments]) -> None:
    """Write the adapted weights and the history, which is empty if nothing was trained."""
    training, source = job.arguments.training, read_json(job.input("report"))["finetune"]
    network, about = load_network(job.input("pretrained"), RECOMMENDED)
    state, history = network.state_dict(), []
    if source != "none":
        flats = measured_flats(read_tiles(job.arguments.entry, job.inputs)[0], source)
        rng = np.random.default_rng(job.arguments.seed)
        synthetic = read_training_tiles(job.inputs["shards"])
        split = finetuning_split(training_tiles(flats, about["side_px"], synthetic, rng), ARMS[RECOMMENDED])
        with training_device(job) as device:
            task = BackgroundTask(split, RECOMMENDED, training, about["largest_set"], device, flipped=False)
            trained = train_for(job, network, task, device, f"adapting to the {source}", settings=training)
        state, history = trained.best, trained.history
    write_trained(job, state, history, about)


def measured_flats(tiles: UserTiles, source: str) -> np.ndarray:
    """Log flat fields (J, H, W): means of J groups of references, or medians of all training tiles but one group.

    Args:
        source: `references` or `tiles`.
    """
    if source == "references":
        groups = np.array_split(tiles.reference_logs, min(MOMENTS, len(tiles.reference_logs)))
        flats = [group.mean(axis=0) for group in groups]
    else:
        numbers = np.array(training_part(len(tiles.logs)))
        sets = [np.setdiff1d(numbers, group) for group in np.array_split(numbers, MOMENTS)]
        flats = [np.median(tiles.logs[members], axis=0) for members in sets]
    # The last one is for validation, so there must be at least two
    return np.stack(flats if len(flats) > 1 else 2 * flats).astype(np.float32)


def training_tiles(
    flats: np.ndarray, side_px: int, synthetic: TrainingTiles, rng: np.random.Generator
) -> TrainingTiles:
    """Synthetic specimens, doses and dark frame with the user's flat fields (J, H, W).

    A network trained on small images corrects a large tile in two passes: binned, then the residual at full resolution.
    So half of the sessions are the binned flat fields, and half are windows of the residual.
    """
    size = min(side_px, *flats.shape[1:])
    bins = -(-max(flats.shape[1:]) // side_px)
    logs = torch.as_tensor(flats)[:, None]
    coarse = binned(logs, torch.ones_like(logs, dtype=torch.bool), bins)[0][:, 0].numpy()
    # The binned tile is cropped, or padded by reflection, to the size of a window
    missing = [(0, max(0, size - length)) for length in coarse.shape[1:]]
    coarse = np.pad(coarse, [(0, 0), *missing], mode="symmetric")[:, :size, :size]
    sessions = [coarse]
    if bins > 1:
        fine = (logs - smooth(logs, side_px))[:, 0].numpy()
        sessions = _WINDOWS * [coarse]
        for _ in range(_WINDOWS):
            top, left = (rng.integers(length - size + 1) for length in fine.shape[1:])
            sessions.append(fine[:, top : top + size, left : left + size])
    log_flat = np.stack(sessions).astype(np.float32)
    return replace(synthetic, log_flat=log_flat, held_out=np.ones(len(log_flat), bool))


if __name__ == "__main__":
    Command(
        adapt,
        Arguments,
        inputs=TILE_FILES
        | {
            "report": "The report of check.py on these files (.json).",
            "pretrained": "Weights of the stage pretrain, corrected arm (.safetensors).",
            "shards": "Training files of the stage synthesize (.npz).",
        },
        outputs={"weights": "The adapted weights (.safetensors).", "history": "Losses of every epoch (.csv)."},
        optional_inputs=OPTIONAL_FILES,
    ).main()
