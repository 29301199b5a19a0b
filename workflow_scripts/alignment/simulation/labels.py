"""Images of a synthetic stack: names of stacks, stages and kinds of alignment, and our own columns in their .star."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.formats.particles import CtfParameters, ParticleStack, open_particles
from workflow_scripts.formats.star import numbers
from workflow_scripts.workflow.errors import InputError

NOISE_ONLY = "noise"
PAIRWISE, JOINT = "pairwise", "joint"  # the two kinds of alignment
PRETRAINED, FINETUNED = STAGES = "pretrained", "finetuned"  # stages of a network that answer
FITTED = "fitted"  # the only stage of an estimator that is not trained
_COLUMNS = ("Stack", "Particle", "Noise", "Snr", "Symmetry", "PixelSize")


def stack_name(particle: str, noise: str, snr: float) -> str:
    """What a stack is called in files: groel_side-white-0.1."""
    return f"{particle}-{noise}-{snr:g}"


@dataclass(frozen=True)
class LabelledStack:
    """The images of one particle at one kind and strength of noise.

    name: see `stack_name`; `NOISE_ONLY` where the images are pure noise, whose snr is 0.
    symmetry_fold: n of C_n in the plane.
    pixel_size_a: Å, of this particle.
    images: where the images are.
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

    def read(self) -> np.ndarray:
        """All images, float32 (N, n, n)."""
        return self.images.read(np.arange(len(self)))

    def truth(self) -> tuple[np.ndarray, np.ndarray]:
        """angle_deg (N,) and shift_px (N, 2); no estimator may use them."""
        poses = self.images.poses()
        if poses is None:
            raise InputError(f"{self.images.path}: has no rlnAnglePsi; run the stage synthesize again")
        return poses

    def contrast(self) -> CtfParameters:
        """Defocus and optics of every image."""
        if self.images.ctf is None:
            raise InputError(f"{self.images.path}: has no rlnDefocusU; run the stage synthesize again")
        return self.images.ctf


def read_labelled(star: Path, stack: Path) -> list[LabelledStack]:
    """The stacks of a file of the stage synthesize, in the file's order.

    Args:
        star: the list.
        stack: the .mrcs that it must name.

    Raises:
        InputError: the list names another file, or lacks a column of ours.
    """
    particles = open_particles(star)
    if [listed.path.resolve() for listed in particles.stacks] != [stack.resolve()]:
        raise InputError(f"{star}: lists images of other files than {stack}; give the two that were made together")
    missing = [f"beamtime{name}" for name in _COLUMNS if f"beamtime{name}" not in particles.columns]
    if missing:
        raise InputError(f"{star}: lacks the column {missing[0]}; give a file of the stage synthesize")
    names = np.array(particles.columns["beamtimeStack"])
    stacks = []
    for name in dict.fromkeys(names.tolist()):
        chosen = particles.subset(np.flatnonzero(names == name))
        snr, fold, size_a = (
            numbers(chosen.columns, f"beamtime{label}", star, within, chosen.rows)[0]
            for label, within in (("Snr", (0, 1e6)), ("Symmetry", (1, 1000)), ("PixelSize", (1e-6, 1e6)))
        )
        particle, noise = (chosen.columns[f"beamtime{label}"][0] for label in ("Particle", "Noise"))
        stacks.append(LabelledStack(name, particle, noise, snr, int(fold), size_a, chosen))
    return stacks
