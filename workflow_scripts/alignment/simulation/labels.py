"""Labels of synthetic stacks, stages and kinds of alignment, and this project's columns in a .star."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.alignment.simulation.imaging import ctf_tensors
from workflow_scripts.formats.particles import ParticleStack, open_particles
from workflow_scripts.formats.star import numbers
from workflow_scripts.learning.devices import host_work
from workflow_scripts.optics.ctf import ctf
from workflow_scripts.workflow.errors import InputError

NOISE_ONLY = "noise"
PAIRWISE, JOINT = "pairwise", "joint"  # the two kinds of alignment
PRETRAINED, FINETUNED = STAGES = "pretrained", "finetuned"  # stages of a network, in predictions
TRAINED_FOR = {PRETRAINED: PAIRWISE, FINETUNED: JOINT}
FITTED = "fitted"  # the only stage of an estimator that is not trained
_LABELS = ("Stack", "Particle", "Noise", "Snr", "Symmetry", "PixelSize")
_COLUMNS = ("rlnAnglePsi", "rlnDefocusU", *(f"beamtime{label}" for label in _LABELS))


@dataclass(frozen=True)
class LabelledStack:
    """The images of one particle at one kind and strength of noise.

    name: such as groel_side-white-0.1; `NOISE_ONLY` for pure noise, whose snr is 0.
    symmetry_fold: n of C_n in the plane.
    pixel_size_a: of this particle, Å.
    images: the images, read on demand.
    """

    name: str
    particle: str
    noise: str
    snr: float
    symmetry_fold: int
    pixel_size_a: float
    images: ParticleStack

    def __len__(self) -> int:
        return len(self.images)

    @host_work()
    def read(self) -> torch.Tensor:
        """All images, float32 (N, n, n)."""
        return torch.from_numpy(self.images.read(np.arange(len(self))))

    def transfer(self, indices: np.ndarray | None = None) -> torch.Tensor:
        """Contrast transfer of all images, or of those at indices (k,): float32 (k, n, n//2 + 1)."""
        parameters = self.images.ctf if indices is None else self.images.ctf.subset(indices)
        return ctf(self.images.box_px, self.pixel_size_a, **ctf_tensors(parameters)).float()

    def truth(self) -> tuple[np.ndarray, np.ndarray]:
        """angle_deg (N,) and shift_px (N, 2); no estimator may use them."""
        return self.images.poses()


def read_labelled(star: Path, stack: Path) -> list[LabelledStack]:
    """The stacks of a file of the stage synthesize, in the file's order.

    Args:
        star: the list.
        stack: the .mrcs that it must name.

    Raises:
        InputError: the list names another file, or lacks a column.
    """
    particles = open_particles(star)
    if [listed.path.resolve() for listed in particles.stacks] != [stack.resolve()]:
        raise InputError(f"{star}: lists images of other files than {stack}; give the two that were made together")
    missing = [name for name in _COLUMNS if name not in particles.columns]
    if missing:
        raise InputError(f"{star}: lacks the column {missing[0]}; give a file of the stage synthesize")
    names = np.array(particles.columns["beamtimeStack"])
    stacks = []
    for name in dict.fromkeys(names.tolist()):
        images = particles.subset(np.flatnonzero(names == name))
        snr, fold, size_a = (
            numbers(images.columns, f"beamtime{label}", star, within, images.rows)[0]
            for label, within in (("Snr", (0, 1e6)), ("Symmetry", (1, 1000)), ("PixelSize", (1e-6, 1e6)))
        )
        particle, noise = (images.columns[f"beamtime{label}"][0] for label in ("Particle", "Noise"))
        stacks.append(LabelledStack(name, particle, noise, snr, int(fold), size_a, images))
    return stacks
