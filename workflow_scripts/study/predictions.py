"""predictions.npz: the predictions of one estimator, in one format for all methods.

The file has the arrays `estimator`, `seed` and `parts`, further named facts, and for each part
`<stage>/<condition>/<array>`: the stage of the estimator (`pretrained`, `finetuned`, or `fitted` if it is not
trained), the condition of the prediction (as in metrics.csv, often empty), and a predicted array.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.study.conditions import check_condition, parse_condition
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import array_names, read_arrays, write_arrays

# Stages of a trained estimator as predictions name them, by their names in conditions of metrics.csv.
TRAINED_STAGES = {"pretrained": "pretrain", "finetuned": "finetune"}
# Files that a prediction may need, and those that are evaluated: help texts of command lines.
WEIGHTS = {
    "pretrained": "Weights of the stage pretrain (.safetensors).",
    "finetuned": "Weights of the stage finetune (.safetensors).",
}
WEIGHTS_AND_SHARDS = WEIGHTS | {"shards": "Training files of the stage synthesize (.npz)."}
TEST_AND_PREDICTIONS = {
    "test": "Test file of the stage synthesize (.npz).",
    "predictions": "Files of the stage predict, one for each estimator and seed (.npz).",
}
_NAMED = ("estimator", "seed", "parts")


@dataclass(frozen=True)
class Part:
    """What one stage of an estimator predicts under one condition; the arrays stay in their file until `read`.

    Attributes:
        path: the file.
        stage: of the estimator.
        condition: as in metrics.csv.
        names: of its arrays.
    """

    path: Path
    stage: str
    condition: str
    names: tuple[str, ...]

    @property
    def values(self) -> dict[str, str]:
        """The condition's values by key; a missing key raises InputError, as in predictions of another method."""
        return _Values(self.path, parse_condition(self.condition))

    def read(
        self, *names: str, shapes: Mapping[str, Sequence[int]] | None = None, finite: bool = True
    ) -> dict[str, np.ndarray]:
        """The named arrays, or all of them.

        Args:
            shapes: the expected shapes of some of them; a negative number stands for any length.
            finite: whether values that are not finite are refused.

        Raises:
            InputError: an array is missing, has another shape, or holds a value that is not finite.
        """
        prefix = f"{self.stage}/{self.condition}/"
        arrays = read_arrays(self.path, [f"{prefix}{name}" for name in names or self.names])
        for name, array in arrays.items():
            expected = tuple((shapes or {}).get(name.removeprefix(prefix), array.shape))
            if len(expected) != array.ndim or any(n not in (-1, m) for n, m in zip(expected, array.shape, strict=True)):
                raise InputError(
                    f"{self.path}: {name} is {array.shape}, but the test file needs {expected}; predict again"
                )
            if finite and array.dtype.kind in "fc" and not np.isfinite(array).all():
                raise InputError(f"{self.path}: {name} holds a value that is not finite; predict again")
        return {name.removeprefix(prefix): array for name, array in arrays.items()}


class _Values(dict[str, str]):
    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, key: str) -> str:
        raise InputError(f"{self._path}: a prediction has no {key} in its condition; predict again")


@dataclass(frozen=True)
class Predictions:
    """The contents of one file.

    Attributes:
        path: the file.
        estimator: its name in estimators.yaml.
        seed: of the training; 0 for an estimator that is not trained.
        parts: in the order in which they were written.
        facts: arrays that belong to no part, by name.
    """

    path: Path
    estimator: str
    seed: int
    parts: tuple[Part, ...]
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def stages(self) -> list[str]:
        """The stages with predictions, in the order in which they were written."""
        return list(dict.fromkeys(part.stage for part in self.parts))


def write_predictions(
    path: Path, estimator: str, seed: int, predictions: Mapping[tuple[str, str], Mapping[str, Any]], **facts: Any
) -> None:
    """Write the predictions of an estimator; the same arrays give the same bytes.

    Args:
        predictions: arrays by name, by stage and condition.
        facts: arrays that belong to no part.
    """
    prefixes = {key: f"{key[0]}/{check_condition(key[1])}/" for key in predictions}
    arrays = {f"{prefixes[key]}{name}": array for key, named in predictions.items() for name, array in named.items()}
    parts = np.array([prefix.removesuffix("/") for prefix in prefixes.values()], dtype=str)
    write_arrays(path, {"estimator": estimator, "seed": seed, "parts": parts, **facts, **arrays})


def read_predictions(path: Path) -> Predictions:
    """Open a file of predictions; only the facts are read into memory.

    Raises:
        InputError: the file is not whole, or is no file of predictions.
    """
    present = array_names(path)
    facts = read_arrays(path, [*_NAMED, *(name for name in present if "/" not in name and name not in _NAMED)])
    estimator, seed, prefixes = (facts.pop(name) for name in _NAMED)
    parts = []
    for prefix in prefixes.tolist():
        stage, _, text = str(prefix).partition("/")
        names = tuple(name.removeprefix(f"{prefix}/") for name in present if name.startswith(f"{prefix}/"))
        if not names or any("/" in name for name in names):
            raise InputError(f"{path}: holds no prediction of {prefix}, which it lists; predict again")
        parts.append(Part(path, stage, check_condition(text), names))
    if not parts:
        raise InputError(f"{path}: holds no prediction; predict again")
    return Predictions(path, str(estimator), int(seed), tuple(parts), facts)
