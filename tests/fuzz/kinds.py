"""What a kind of file is to the fuzzing, and what several kinds share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.potential.apply.segment_files import read_images

N = 32
Make = Callable[[np.random.Generator, Path], bytes]


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    suffix: of its name. text: whether words are mutated rather than bytes. whole: makes a valid file.
    header: bytes (lines, of text) that stay as they are in half of the cases. spoiled: makes a valid container with
    other contents. reads: what reads it. beside: files that lie beside it, by name.
    """

    suffix: str
    whole: Make
    reads: tuple[Callable[[Path], Iterable], ...]
    text: bool = False
    header: int = 0
    spoiled: Make | None = None
    beside: Callable[[Path], None] | None = None


class Planted:
    """Whoever unpickles this makes a file called pwned in the working folder."""

    def __reduce__(self):
        return open, ("pwned", "w")


def disc(rng, n=N):
    y, x = np.mgrid[:n, :n] - n // 2
    return rng.poisson(30.0 * (np.hypot(y, x) < n / 4) + 0.5)


def segments(path, dataset=None):
    """Four images of segments in one file."""
    return [read_images([path], dataset)]
