"""Which sessions and specimens train and which validate: by microscope, or the same ones as in the recipe."""

from dataclasses import replace

import numpy as np

from workflow_scripts.background.networks.variants import Variant
from workflow_scripts.background.simulation.tile_files import Bank
from workflow_scripts.workflow.errors import InputError

_EVERY = 4  # one session, specimen or moment of so many validates


def pretraining_split(bank: Bank, variant: Variant) -> tuple[Bank, Bank]:
    """Material that trains and material that validates.

    Corrected: sessions of microscopes that are not tested, a quarter of them and of the specimens validates. The
    recipe: everything trains, the tested microscopes' earlier sessions too, and validates as well.

    Raises:
        InputError: there are too few sessions to split.
    """
    if variant.sessions_shared:
        return bank, bank
    sessions = np.flatnonzero(~bank.held_out)
    if len(sessions) < 2:
        raise InputError(
            f"the training files hold {len(sessions)} sessions of microscopes that are not tested, but at least 2 are"
            " needed, one to train and one to validate; raise synthesize.instruments"
        )
    return _split(bank, bank.log_flat[sessions], axis=0)


def finetuning_split(bank: Bank, variant: Variant) -> tuple[Bank, Bank]:
    """Earlier sessions of the tested microscopes; of every one the last moments validate.

    Raises:
        InputError: the files hold no such session.
    """
    flats = bank.log_flat[bank.held_out]
    if not len(flats):
        raise InputError("the training files hold no session of a tested microscope to finetune on; synthesize again")
    if variant.sessions_shared:
        shown = replace(bank, log_flat=flats, held_out=np.ones(len(flats), bool))
        return shown, shown
    return _split(bank, flats, axis=1)


def _split(bank: Bank, flats: np.ndarray, axis: int) -> tuple[Bank, Bank]:
    """The last quarter along the axis of (K, J, H, W) and the last quarter of the specimens validate."""
    kept = _kept(flats.shape[axis])
    parts = np.split(flats, [kept], axis=axis)
    specimens = np.split(bank.log_transmission, [_kept(len(bank.log_transmission))])
    return tuple(
        replace(bank, log_flat=flat, log_transmission=images, held_out=np.zeros(len(flat), bool))
        for flat, images in zip(parts, specimens, strict=True)
    )


def _kept(number: int) -> int:
    return number - max(1, number // _EVERY)
