"""The interface of the estimators of the potential, and the training samples on which they may be fitted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from workflow_scripts.potential.settings import material_name
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, RING, Samples, read_samples
from workflow_scripts.workflow.command import Job


class Estimate(Protocol):
    """Images to potentials."""

    def __call__(self, samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        """The potential of every sample.

        Args:
            samples: N rows; an estimator may use their microscope and metadata, not their potentials.
            shares: float32 (N, 4, H, W), share of the incident electrons measured on each segment.
            detector: the one that measured them, `ring` or `matched`.
            dose_e_per_a2: incident electrons per Å²; `counting.NOISE_FREE` for images without noise.

        Returns:
            (N, H, W), V Å.
        """


@dataclass(frozen=True)
class Estimator:
    """An estimator that is ready to predict; every module of `estimators/` has a function `make(job)` that returns one.

    Attributes:
        stages: by training stage, `pretrained` and `finetuned`, or `fitted` for an estimator that is not trained.
        detectors: those whose images it accepts.
        without_noise: whether it also predicts from images without noise.
        shuffled_metadata: whether it also predicts with the metadata of other samples, as a control.
    """

    stages: Mapping[str, Estimate]
    detectors: tuple[str, ...] = (RING, MATCHED)
    without_noise: bool = True
    shuffled_metadata: bool = False


class TrainingFiles:
    """The training files without the held-out material; one file is in memory at a time.

    Raises, when a file is read:
        InputError: as `samples.read_samples`.
    """

    def __init__(self, paths: Sequence[Path], held_out: str) -> None:
        """Args: the files; name of the held-out material."""
        self._paths, self._held_out = paths, held_out

    @classmethod
    def of(cls, job: Job) -> "TrainingFiles":
        """The training files of a job of the stage predict; raises InputError if `--shards` is missing."""
        job.require("shards")
        return cls(job.inputs["shards"], material_name(job.arguments.held_out_material))

    def __iter__(self) -> Iterator[Samples]:
        for path in self._paths:
            samples = read_samples([path])
            yield samples.rows(samples.material != self._held_out)

    def filled(self) -> Iterator[Samples]:
        """The crystals that fill the field of view, file by file."""
        for samples in self:
            yield samples.rows(samples.kind == FILLED)

    def subset(self, n_rows: int) -> list[Samples]:
        """About `n_rows` filled crystals, spread evenly over all files."""
        per_file = max(1, n_rows // len(self._paths))
        return [part.rows(np.arange(0, len(part), max(1, len(part) // per_file))) for part in self.filled()]
