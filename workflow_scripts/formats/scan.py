"""Diffraction patterns of the user's 4D-STEM scan: read in parts, checked, and where the bright-field disc lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow_scripts.formats.arrays import chunks
from workflow_scripts.workflow.errors import InputError

_MOST_COUNTS = 1e15  # in a pixel: its square and its sum are still numbers in 32 bits


@dataclass(frozen=True)
class Disc:
    """The bright-field disc on the recorded detector: centre [y, x] and radius in pixels."""

    center_px: tuple[float, float]
    radius_px: float


def scan_shape(shape: tuple[int, ...], given: tuple[int, int] | None, where: str) -> tuple[int, int] | None:
    """The scan's rows and columns, from an array (Ry, Rx, H, W) or as given; None for (N, H, W) without it.

    Args:
        shape: of the array.
        given: rows and columns that the user states.
        where: the array's name in a sentence about a mistake.

    Raises:
        InputError: the array has another number of axes, or of patterns.
    """
    if len(shape) not in (3, 4):
        raise InputError(f"{where} has the shape {shape}, expected (N, H, W) or (Ry, Rx, H, W)")
    if given is not None and np.prod(given) != np.prod(shape[:-2]):
        raise InputError(
            f"{where} holds {np.prod(shape[:-2])} patterns, but scan_shape {list(given)} wants"
            f" {np.prod(given)}; correct scan_shape"
        )
    return tuple(shape[:2]) if len(shape) == 4 else given


def pattern_chunks(stack: Any, where: str) -> Iterator[np.ndarray]:
    """The patterns of (N, H, W) or (Ry, Rx, H, W) in their order, float64 (n, H, W) at a time.

    Raises:
        InputError: the file is damaged.
    """
    for _, part in chunks(stack, where):
        yield part.reshape(-1, *stack.shape[-2:])


def mean_pattern(stack: Any, where: str) -> np.ndarray:
    """The mean (H, W) of all patterns.

    Raises:
        InputError: a pattern holds a value that is no count, or all are dark.
    """
    total, count = np.zeros(stack.shape[-2:]), 0
    for part in pattern_chunks(stack, where):
        _check_counts(part, count, where)
        total += part.sum(axis=0)
        count += len(part)
    if not total.any():
        raise InputError(f"{where}: all counts are 0")
    return total / count


def _check_counts(patterns: np.ndarray, first: int, where: str) -> None:
    remedy = "expected counts ≥ 0, so subtract no background, or set what lies below 0 to 0"
    for wrong, fault in (
        (~np.isfinite(patterns), "values that are not finite; repair it"),
        (patterns < 0, f"the negative count {{:g}}; {remedy}"),
        (patterns > _MOST_COUNTS, f"the count {{:.3g}}, expected counts of at most {_MOST_COUNTS:g}; repair it"),
    ):
        if wrong.any():
            index = int(wrong.any(axis=(1, 2)).argmax())
            value = patterns[index][wrong[index]][0]
            raise InputError(f"{where}: pattern {first + index} holds {fault.format(value)}")


def find_disc(mean: np.ndarray, keys: str) -> Disc:
    """The bright-field disc of a mean pattern (H, W): the pixels above half of the mean over the disc.

    Args:
        keys: settings that the user can give in place of the search, for the sentence.

    Raises:
        InputError: there is no bright disc.
    """
    level = mean.max() / 2
    for _ in range(50):
        level = mean[mean >= level].mean() / 2
    inside = mean >= level
    if inside.sum() < 4 or inside.mean() > 0.9:
        raise InputError(f"patterns: the mean pattern shows no bright-field disc; give {keys}")
    row, column = (float(axis.mean()) for axis in np.nonzero(inside))
    return Disc((row, column), float(np.sqrt(inside.sum() / np.pi)))
