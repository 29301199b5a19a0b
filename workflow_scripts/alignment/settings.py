"""Settings of the six stages of alignment, and the arms of the study."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.alignment.apply.settings import Apply as Apply  # the settings of one entry of apply.alignment
from workflow_scripts.formats.endings import CIF, MRC, PDB, PNG, TIFF, has_ending, without_ending
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.workflow.settings import Settings

VariantName = Literal["published", "corrected"]
BUILT_IN = ("groel_side", "groel_top", "asymmetric")
FILE_ENDINGS = PNG + TIFF + MRC + PDB + CIF
Snr = Annotated[float, Field(gt=0, le=10)]


def is_file(particle: str) -> bool:
    """Whether a particle is the path of an image, a volume or a molecule rather than the name of a built-in one."""
    return has_ending(particle, FILE_ENDINGS)


def particle_name(particle: str) -> str:
    """Name of a particle in stacks and tables: its own, or that of its file without the ending.

    Characters that are not allowed in a condition become underscores.
    """
    return re.sub(r"[^\w.+-]+", "_", without_ending(particle)) if is_file(particle) else particle


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/alignment.md explains each.

    Attributes:
        wrong_near_wraps: the loss is the smallest of |r − t| and |r − (t ± 180°)|, which is not circular.
        noise_rotates_along: augmentation rotates the noisy image, noise included, by bilinear interpolation, instead
            of adding fresh noise after the rotation.
        faulty_ctf: a new random defocus for every Fourier pixel, the modulus of the CTF, and the pixel size scaled the
            wrong way.
        eight_bit: every image is stretched to integers from 0 to 255 independently.
        batch_statistics: batch normalisation uses the statistics of the batch at prediction too.
        not_equivariant: a convolutional network regresses the angle from two Cartesian spectra, not a correlation along
            the angle of polar ones.
        branch_unresolved: the angle stays in [0°, 180°) and every shift is zero.
    """

    wrong_near_wraps: bool
    noise_rotates_along: bool
    faulty_ctf: bool
    eight_bit: bool
    batch_statistics: bool
    not_equivariant: bool
    branch_unresolved: bool


# All arms run the same code; each fault of the published recipe is a switch.
VARIANTS = {"published": Variant(*[True] * 7), "corrected": Variant(*[False] * 7)}


class MicroscopeSettings(Settings):
    """Contrast transfer; the defocus is drawn anew for every particle image."""

    voltage_kv: float = Field(ge=1, le=1500, description="Accelerating voltage, kV.")
    cs_mm: float = Field(ge=0, description="Spherical aberration, mm.")
    amplitude_contrast: float = Field(ge=0, lt=1, description="Fraction of amplitude contrast.")
    b_factor_a2: float = Field(ge=0, description="Envelope exp(-B k²/4), Å².")
    defocus_min_um: float = Field(gt=0, description="Smallest underfocus, µm.")
    defocus_max_um: float = Field(gt=0, description="Largest underfocus, µm.")

    @model_validator(mode="after")
    def _range_fits(self) -> "MicroscopeSettings":
        if self.defocus_min_um > self.defocus_max_um:
            raise ValueError("defocus_min_um must not exceed defocus_max_um")
        return self


class Synthesize(Settings):
    """From particles to noisy stacks with known poses."""

    microscope: MicroscopeSettings = Field(description="Contrast transfer.")
    box_px: int = Field(ge=36, le=1024, description="Pixels along each side of an image.")
    pixel_size_a: float = Field(ge=0.05, le=20, description="Pixel size, Å; .mrc files state theirs.")
    particles: tuple[str, ...] = Field(
        min_length=1,
        description=f"Particles of the test stacks: {', '.join(BUILT_IN)}, or paths of class averages (.png, .tif,"
        " .mrc), volumes (.mrc) and molecules (.pdb, .cif), each projected once.",
    )
    dark_files: tuple[str, ...] = Field(description="Files among particles with dark density.")
    snr: tuple[Snr, ...] = Field(
        min_length=1, description="Signal-to-noise ratios (variances over the whole box) of stacks with white noise."
    )
    coloured_snr: tuple[Snr, ...] = Field(
        description="Signal-to-noise ratios of stacks whose noise has the spectrum of the signal; [] makes none."
    )
    largest_shift_px: int = Field(ge=0, description="Largest shift of a particle along y and along x, px.")
    test_images: int = Field(ge=16, description="Images in every test stack.")
    train_shards: int = Field(ge=1, le=400, description="Files of training data, made in parallel.")
    train_images: int = Field(
        ge=16,
        description="Noisy images of every particle in a training file, at the first of snr; for the published arm.",
    )
    random_particles: int = Field(
        ge=8, description="Noise-free random particles in a training file; only the corrected arm trains on them."
    )
    seed: int = Field(ge=0, description="Seed of particles, poses, defocus and noise.")

    @field_validator("particles")
    @classmethod
    def _are_known(cls, particles: tuple[str, ...]) -> tuple[str, ...]:
        for particle in particles:
            if is_file(particle) and not Path(particle).is_file():
                raise ValueError(f"there is no file {particle}")
            if not is_file(particle) and particle not in BUILT_IN:
                raise ValueError(
                    f"there is no particle {particle!r}; take {', '.join(BUILT_IN)}, or the path of a file"
                    f" ({', '.join(FILE_ENDINGS)})"
                )
        if len({particle_name(particle) for particle in particles}) < len(particles):
            raise ValueError("each particle may be named once, and files must differ in their names")
        return particles

    @model_validator(mode="after")
    def _fit(self) -> "Synthesize":
        if absent := set(self.dark_files) - set(self.particles):
            raise ValueError(f"dark_files names {', '.join(sorted(absent))}, which particles does not")
        if self.largest_shift_px > self.box_px // 4:
            raise ValueError(f"largest_shift_px must be at most a quarter of the box, {self.box_px // 4}")
        return self

    def files(self) -> list[str]:
        """The files among the particles."""
        return [path for path in self.particles if is_file(path)]

    def file_mb(self, split: str) -> float:
        """Size of one stack with its particles' centres, MB; the test has one of pure noise too."""
        stacks = len(self.particles) * (len(self.snr) + len(self.coloured_snr)) + 1
        train = len(self.particles) * self.train_images + self.random_particles
        images = train if split == "train" else stacks * self.test_images
        return images * self.box_px**2 * 4 / 1e6


class NetworkSettings(Settings):
    """The networks of both arms, with about the same number of weights."""

    rings: int = Field(ge=4, description="Rings of the spectrum, from 2 periods per image outwards.")
    width: int = Field(ge=4, description="Channels of each layer of the corrected arm's network.")
    layers: int = Field(ge=1, description="Layers of the corrected arm's network.")
    recipe_px: int = Field(ge=16, description="Side of the central part of the spectrum fed to the published arm, px.")
    recipe_mask_widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="Channels of the layers that compute the published arm's mask."
    )
    recipe_widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=2, description="Channels of the published arm's residual blocks, each followed by 2 × 2 max pooling."
    )


class Pretrain(TrainingSettings):
    """Pairwise training: the rotation between two images (UDL)."""

    network: NetworkSettings = Field(description="The networks.")
    pairs: int = Field(ge=16, description="Pairs in an epoch.")
    validation_pairs: int = Field(ge=16, description="Pairs of validation particles; their loss selects the weights.")
    snr_min: float = Field(gt=0, description="Smallest signal-to-noise ratio of the corrected arm's training images.")
    snr_max: float = Field(gt=0, description="Largest signal-to-noise ratio of the corrected arm's training images.")
    coloured_share: float = Field(ge=0, le=1, description="Fraction of its batches with coloured noise.")


class Finetune(TrainingSettings):
    """Joint training: all images of a stack against one reference that improves as they align (JUDL)."""

    pairs: int = Field(ge=16, description="Pairs in an epoch.")
    rounds: int = Field(ge=1, description="Largest number of rounds of averaging and aligning.")


class PredictNetwork(Settings):
    """How the networks of both arms are applied."""

    batch_size: int = Field(ge=1, description="Images (corrected arm) or pairs (published arm) per forward pass.")
    rounds: int = Field(ge=1, description="Largest number of rounds of averaging and aligning by the corrected arm.")


class PredictPolarJoint(Settings):
    """Polar correlation with the average."""

    rounds: int = Field(ge=1, description="Largest number of rounds of averaging and aligning.")


class PredictCartesianPairwise(Settings):
    """Correlation of pairs over angle and shift."""

    step_deg: float = Field(gt=0, le=10, description="Step of the angle, degrees; a divisor of 180.")
    information_share: float = Field(
        gt=0, lt=1, description="Fraction of the expected log-likelihood ratio within the estimated cut-off."
    )
    smallest_ring: int = Field(ge=4, description="Smallest cut-off, periods per image.")
    largest_ring: int = Field(ge=4, description="Largest cut-off, periods per image.")

    @field_validator("step_deg")
    @classmethod
    def _divides_a_half_turn(cls, step_deg: float) -> float:
        if 180 % step_deg:
            raise ValueError("must divide 180")
        return step_deg


class PredictEmJoint(Settings):
    """Expectation maximisation over angle and shift."""

    starts: int = Field(ge=1, description="Images of each half stack tried as its first reference.")
    search_rings: tuple[Annotated[int, Field(ge=4)], ...] = Field(
        min_length=1, description="Cut-off in each round over all angles and shifts, periods per image."
    )
    refine_rings: tuple[Annotated[int, Field(ge=4)], ...] = Field(
        min_length=1, description="Cut-off in each round of local refinement, periods per image."
    )
    reach_px: float = Field(gt=0, description="Largest shift from the centre of the average along y and x, px.")


class Predict(Settings):
    """Poses of all particles, estimated by every estimator."""

    network: PredictNetwork = Field(description="The networks of both arms.")
    polar_joint: PredictPolarJoint = Field(description="Polar correlation with the average.")
    cartesian_pairwise: PredictCartesianPairwise = Field(description="Correlation of pairs over angle and shift.")
    em_joint: PredictEmJoint = Field(description="Expectation maximisation over angle and shift.")


class Evaluate(Settings):
    """Estimates against the truth."""

    headline_snr: float = Field(gt=0, description="Signal-to-noise ratio of the headline, one of synthesize.snr.")
    average_sizes: tuple[Annotated[int, Field(ge=4)], ...] = Field(
        min_length=1, description="Numbers of images for which the ring correlation of the class average is shown."
    )
    null_permutations: int = Field(
        ge=20,
        description="Permutations of the true poses, and number of random particles used in no other stage, from which"
        " the thresholds of the pure-noise control are computed.",
    )
    bootstrap_samples: int = Field(ge=100, description="Resamplings for every interval.")
    seed: int = Field(ge=0, description="Seed of the pure-noise control and of the bootstrap.")


class Plot(Settings):
    """The figures."""
