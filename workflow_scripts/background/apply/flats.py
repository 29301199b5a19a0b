"""Material to adapt a network to the user's microscope: flat fields of references, or medians of tiles."""

from dataclasses import replace

import numpy as np
import torch

from workflow_scripts.background.apply.data import OwnTiles, shown
from workflow_scripts.background.estimators.network import binned, smooth
from workflow_scripts.background.simulation.tile_files import Bank

MOMENTS = 4  # flat fields of one session, made of other images each
_WINDOWS = 64


def own_flats(own: OwnTiles, source: str) -> np.ndarray:
    """Log flat fields (J, H, W): means of J groups of references, or medians of all shown tiles but a group of them.

    Args:
        source: `references` or `tiles`.
    """
    if source == "references":
        groups = np.array_split(own.reference_logs, min(MOMENTS, len(own.reference_logs)))
        flats = [group.mean(axis=0) for group in groups]
    else:
        numbers = np.array(shown(len(own.logs)))
        others = [np.setdiff1d(numbers, group) for group in np.array_split(numbers, MOMENTS)]
        flats = [np.median(own.logs[some], axis=0) for some in others]
    # The last moments validate, so there must be two
    return np.stack(flats if len(flats) > 1 else 2 * flats).astype(np.float32)


def own_bank(flats: np.ndarray, side_px: int, bank: Bank, rng: np.random.Generator) -> Bank:
    """The specimens, doses and dark frame of a bank before the user's flat fields (J, H, W).

    A network of small images corrects a large tile first binned, then window by window what the binned one left:
    half of the sessions are the binned tile, half are windows of what it leaves.
    """
    count = min(side_px, *flats.shape[1:])
    bins = -(-max(flats.shape[1:]) // side_px)
    logs = torch.as_tensor(flats)[:, None]
    coarse = _padded(binned(logs, torch.ones_like(logs, dtype=torch.bool), bins)[0][:, 0].numpy(), count)
    sessions = [coarse]
    if bins > 1:
        fine = (logs - smooth(logs, side_px))[:, 0].numpy()
        sessions = _WINDOWS * [coarse]
        for _ in range(_WINDOWS):
            top, left = (rng.integers(size - count + 1) for size in fine.shape[1:])
            sessions.append(fine[:, top : top + count, left : left + count])
    log_flat = np.stack(sessions).astype(np.float32)
    return replace(bank, log_flat=log_flat, held_out=np.ones(len(log_flat), bool))


def _padded(images: np.ndarray, side_px: int) -> np.ndarray:
    """Images (J, h, w) cropped, or continued by their mirror image, to (J, side, side)."""
    missing = [max(0, side_px - size) for size in images.shape[1:]]
    images = np.pad(images, ((0, 0), (0, missing[0]), (0, missing[1])), mode="symmetric")
    return images[:, :side_px, :side_px]
