"""Which samples train and which validate: by crystal orientation, or by sample as the recipe does."""

import numpy as np

from workflow_scripts.potential.settings import Variant, material_name
from workflow_scripts.potential.simulation.samples import FILLED, PATCH, Samples
from workflow_scripts.workflow.errors import InputError


def pretraining_split(
    samples: Samples, variant: Variant, held_out_material: str, share: float, seed: int
) -> tuple[Samples, Samples]:
    """Samples for training and samples for validation.

    Corrected: the crystal orientations of all materials but the held-out one; a share of them validates, spread as
    evenly as possible over the materials. The recipe: all samples; a random share of them validates.

    Args:
        held_out_material: its name, or the path of its structure.
        share: share of the orientations, or of the samples, for validation.
        seed: of the choice.

    Raises:
        InputError: there are too few to split.
    """
    rng = np.random.default_rng(seed)
    chosen = samples.kind == _kind(variant)
    if variant.split_by_sample:
        rows = rng.permutation(np.flatnonzero(chosen))
        _check_splits(len(rows), "samples", variant)
        count = _count(share, len(rows))
        return samples.rows(np.sort(rows[count:])), samples.rows(np.sort(rows[:count]))
    chosen &= samples.material != material_name(held_out_material)
    others = f"crystal orientations beside those of {held_out_material}"
    validating = _validating(samples, chosen, others, variant, share, rng)
    return samples.rows(chosen & ~validating), samples.rows(chosen & validating)


def finetuning_split(
    samples: Samples, variant: Variant, held_out_material: str, count: int, share: float, seed: int
) -> tuple[Samples, Samples]:
    """A few samples of the held-out material for training, and a few of its other orientations for validation.

    Args:
        held_out_material: its name, or the path of its structure.
        count: samples of it in all.
        share: share of them for validation.
        seed: of the choice.

    Raises:
        InputError: the files hold too few samples or orientations of the material.
    """
    rng = np.random.default_rng(seed)
    chosen = (samples.kind == _kind(variant)) & (samples.material == material_name(held_out_material))
    orientations = f"crystal orientations of {held_out_material}"
    validating = _validating(samples, chosen, orientations, variant, share, rng)
    n_validation = _count(share, count)
    parts = []
    for rows, wanted in ((chosen & ~validating, count - n_validation), (chosen & validating, n_validation)):
        candidates = np.flatnonzero(rows)
        if len(candidates) < wanted:
            raise InputError(
                f"finetune.samples is {count}, for which {wanted} samples of some orientations of {held_out_material}"
                f" are needed, but the training files hold {len(candidates)}; lower finetune.samples or synthesize more"
            )
        parts.append(samples.rows(np.sort(rng.permutation(candidates)[:wanted])))
    return parts[0], parts[1]


def _validating(
    samples: Samples, chosen: np.ndarray, label: str, variant: Variant, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Which samples (N,) belong to the orientations for validation, a share of those chosen."""
    order = _specimens_by_turns(samples, chosen, rng)
    _check_splits(len(order), label, variant)
    return np.isin(samples.specimen, order[: _count(share, len(order))])


def _kind(variant: Variant) -> str:
    return PATCH if variant.patch_in_vacuum else FILLED


def _specimens_by_turns(samples: Samples, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The chosen samples' specimens in random order, but one of each material before a second of any."""
    specimens, first = np.unique(samples.specimen[chosen], return_index=True)
    material = samples.material[chosen][first]
    shuffled = rng.permutation(len(specimens))
    turn = np.zeros(len(specimens), dtype=np.int64)  # number of specimens of the same material before it
    for name in np.unique(material):
        of_it = shuffled[material[shuffled] == name]
        turn[of_it] = np.arange(len(of_it))
    return specimens[shuffled[np.argsort(turn[shuffled], kind="stable")]]


def _count(share: float, n: int) -> int:
    """Number out of n that validate: at least one, and not all."""
    return min(max(1, round(share * n)), n - 1)


def _check_splits(n: int, label: str, variant: Variant) -> None:
    if n < 2:
        raise InputError(
            f"the training files hold {n} {label} (samples of the kind {_kind(variant)}), but at least 2 are needed,"
            " one to train and one to validate; synthesize more"
        )
