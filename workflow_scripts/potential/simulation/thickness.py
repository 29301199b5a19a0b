"""Estimators whose coefficients depend on thickness: training sums by thickness, and which specimens choose settings.

Training thicknesses are continuous, so a linear estimator is fitted anew for each thickness that is asked for, on the
training samples weighted by their nearness in the logarithm of the thickness (local regression).
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import chain
from operator import add
from typing import TypeVar

import numpy as np

from workflow_scripts.potential.simulation.samples import Samples
from workflow_scripts.workflow.errors import InputError

# Candidates for the standard deviation of the weights, in the natural logarithm of the thickness; the last is one fit
# for all thicknesses
BANDWIDTHS = (0.05, 0.1, 0.2, 0.4, float("inf"))
_VALIDATION_STEP = 5  # of every five orientations of a crystal the second is used to choose settings
_NEGLIGIBLE = 1e-4

Sums = TypeVar("Sums")


def near(thickness_nm: float, bandwidth: float, *parts: Mapping[float, Sums]) -> Sums:
    """The weighted total of sums by thickness in nm; beyond their range the nearest one has weight 1."""
    known_nm, sums = zip(*chain.from_iterable(part.items() for part in parts), strict=True)
    distance = np.log(np.array(known_nm) / thickness_nm) ** 2
    weights = np.exp(-(distance - distance.min()) / (2 * bandwidth**2))
    return reduce(add, (part * w for part, w in zip(sums, weights, strict=True) if w > _NEGLIGIBLE))


class SumsByThickness:
    """Sums over the training images by thickness, rounded to nm: of those that fit, and of those that choose settings.

    Attributes:
        fit, validation: sums by thickness, nm, of different orientations of the crystals.
    """

    def __init__(self, images: Iterator[tuple[str, str, float, Sums]], estimator: str) -> None:
        """Args: material, specimen, thickness in nm and sums of each training image; the estimator's name, for errors.

        Raises:
            InputError: no crystal has two orientations.
        """
        parts: tuple[dict[float, Sums], ...] = ({}, {})
        orientations: dict[str, list[str]] = {}
        for material, specimen, nominal_nm, sums in images:
            specimens = orientations.setdefault(material, [])
            if specimen not in specimens:
                specimens.append(specimen)
            part = parts[specimens.index(specimen) % _VALIDATION_STEP == 1]
            part[nominal_nm] = part[nominal_nm] + sums if nominal_nm in part else sums
        if not parts[1]:
            raise InputError(
                f"{estimator} needs two orientations of a crystal in the training files, but every crystal has a single"
                " one; raise orientations or train_shards of potential.synthesize"
            )
        self.fit, self.validation = parts


def names_of(samples: Samples, row: int) -> tuple[str, str, float]:
    """Material, specimen and thickness in nm of a sample, as `SumsByThickness` takes them."""
    return str(samples.material[row]), str(samples.specimen[row]), max(0.5, float(samples.nominal_nm[row]))
