"""Training tasks of the networks, and their inputs. Rotations are drawn at random, so no labels are needed.

Corrected (`FreshNoiseTask`): images of a known particle at several poses, each with its own contrast transfer and fresh
noise. Published (`DisturbanceTask`): a pair of noisy images, and the same pair rotated, noise included, by known
angles; the predictions must differ by the difference of these angles. Any rotation-equivariant network satisfies that,
even on pure noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.alignment.networks import losses
from workflow_scripts.alignment.networks.branch import align_stack
from workflow_scripts.alignment.networks.model import CorrelationNetwork, polar_spectra, recipe_spectra
from workflow_scripts.alignment.networks.polar_alignment import FIRST_RING, joint
from workflow_scripts.alignment.settings import MicroscopeSettings, Variant
from workflow_scripts.alignment.simulation.imaging import Simulator
from workflow_scripts.alignment.simulation.labels import NOISE_ONLY, LabelledStack, read_labelled
from workflow_scripts.alignment.simulation.particles import Particle, particle
from workflow_scripts.formats.mrc import open_stack
from workflow_scripts.learning.transfers import host_generator
from workflow_scripts.workflow.errors import InputError

IMAGES = 4  # images of each particle in a batch; the loss is over all their pairs
PAIRS = IMAGES * (IMAGES - 1) // 2
_VALIDATION_SHARE = 0.1  # fraction of the random particles used for validation
_BATCH = 128
_AUTOENCODER_WEIGHT = 20.0  # of the recipe in its first epoch


@dataclass(frozen=True)
class Augmentation:
    """Settings of the training images, stored in the metadata of the weights, since finetuning uses the same.

    Attributes:
        snr_min, snr_max: range of the signal-to-noise ratio.
        coloured_share: fraction of batches with coloured noise.
        validation_pairs: pairs whose loss selects the weights.
        largest_shift_px: largest shift of a particle along y and along x.
    """

    snr_min: float
    snr_max: float
    coloured_share: float
    validation_pairs: int
    largest_shift_px: int


@dataclass
class FreshNoiseTask:
    """The corrected arm's `learning.training.Task`. A row of a batch is one particle; all pairs of its images count.

    Args:
        particles: for training; noise-free, bright on a dark background.
        validation: particles whose loss selects the weights.
        microscope: contrast transfer.
        augmentation: settings of the images.
        rings: number of rings of the spectrum.
        n_samples: pairs in an epoch.
        device: where images are made.

    Raises:
        InputError: the images are too small for so many rings.
    """

    particles: Sequence[Particle]
    validation: Sequence[Particle]
    microscope: MicroscopeSettings
    augmentation: Augmentation
    rings: int
    n_samples: int
    device: torch.device

    def __post_init__(self) -> None:
        n = self.particles[0].image.shape[-1]
        if FIRST_RING + self.rings - 1 >= n / 2:
            raise InputError(
                f"alignment.pretrain.network.rings: {self.rings} rings from {FIRST_RING} periods outwards leave the"
                f" spectrum of {n} × {n} pixels; lower it, or raise alignment.synthesize.box_px"
            )
        self._train, self._validation = (
            Simulator(particles, self.microscope, self.augmentation.snr_min, "white", self.device)
            for particles in (self.particles, self.validation)
        )

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Freshly drawn spectra (B, 4, R, 180) and angles (B, 4) of B particles, 6 pairs each: B = len(indices) / 6."""
        return self._draw(self._train, max(1, len(indices) // PAIRS), generator)

    def _draw(self, simulator: Simulator, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        on_host = host_generator(generator)
        position = float(torch.rand(1, generator=on_host))
        coloured = float(torch.rand(1, generator=on_host)) < self.augmentation.coloured_share
        simulator.noise = "coloured" if coloured else "white"
        low, high = self.augmentation.snr_min, self.augmentation.snr_max
        simulator.snr = low * (high / low) ** position
        poses = simulator.draw_poses(rows * IMAGES, generator, self.augmentation.largest_shift_px, whole_px=False)
        particle_index = torch.randint(len(simulator.particles), (rows,), generator=on_host)
        poses = replace(poses, particle=particle_index.repeat_interleave(IMAGES))
        spectra = polar_spectra(simulator.draw(poses, generator), self.rings)
        return spectra.unflatten(0, (rows, IMAGES)), poses.angle_deg.unflatten(0, (rows, IMAGES))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy of the relative angles, mean over all pairs of images of the same particle."""
        spectra, angle_deg = batch
        features = model(spectra.flatten(0, 1))
        transforms = torch.fft.rfft(features).unflatten(0, spectra.shape[:2])  # (B, 4, F, 91)
        first, second = torch.triu_indices(IMAGES, IMAGES, 1, device=angle_deg.device)
        cross = (transforms[:, first] * transforms[:, second].conj()).sum(dim=2)
        curves = torch.fft.irfft(cross, n=features.shape[-1])  # circular correlations (B, 6, 180)
        sharpness = getattr(model, "module", model).log_sharpness.exp()
        return losses.correlation_loss(sharpness * curves, angle_deg[:, first] - angle_deg[:, second]).mean()

    def validate(self, model: nn.Module) -> float:
        """The loss on the validation particles; poses and noise are the same in every epoch."""
        generator = torch.Generator(self.device).manual_seed(0)
        batch_losses = [
            float(self.loss(model, self._draw(self._validation, 4, generator)))
            for _ in range(math.ceil(max(1, self.augmentation.validation_pairs // PAIRS) / 4))
        ]
        return sum(batch_losses) / len(batch_losses)


@dataclass
class DisturbanceTask:
    """The published arm's task: pairs of images of one stack, before and after known rotations.

    Args:
        stacks: float32 (N, n, n), one per particle; both images of a pair come from the same stack.
        variant: which faults are present.
        validation_pairs: number of pairs, drawn once from the training images, as in the recipe.
        joint: whether every image is paired with the first of its stack, and an autoencoder is trained too (JUDL).
        side_px: side of the spectra fed to the network.
        n_samples: pairs in an epoch.
        device: holds the images.
    """

    stacks: Sequence[Tensor]
    variant: Variant
    validation_pairs: int
    joint: bool
    side_px: int
    n_samples: int
    device: torch.device

    def __post_init__(self) -> None:
        self._images = torch.cat(list(self.stacks)).to(self.device)
        sizes = torch.tensor([len(stack) for stack in self.stacks])
        # For each image: number of the first image of its stack, and size of that stack
        self._first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes).to(self.device)
        self._size = torch.repeat_interleave(sizes, sizes).to(self.device)

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Spectra (B, 4, s, s) of images A, B and both rotated, and the difference of the rotations (B,), degrees."""
        rows = len(indices)
        first = torch.randint(len(self._images), (rows,), generator=generator, device=self.device)
        share = torch.rand(rows, generator=generator, device=self.device)
        partner = self._first[first] + (0 if self.joint else (share * self._size[first]).long())
        rotation_deg = 360 * torch.rand(2, rows, generator=generator, device=self.device)
        images = [self._images[first], self._images[partner]]
        images += [rotated_with_noise(image, angle) for image, angle in zip(images, rotation_deg, strict=True)]
        spectra = torch.stack([recipe_spectra(image, self.side_px) for image in images], dim=1)
        return spectra, rotation_deg[0] - rotation_deg[1]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The recipe's loss, a self-consistency: a small value does not mean that the predictions are right."""
        spectra, disturbance_deg = batch
        before, after = model(spectra[:, 0], spectra[:, 1]), model(spectra[:, 2], spectra[:, 3])
        error = losses.error_near_wraps_deg if self.variant.wrong_near_wraps else losses.circular_error_deg
        period = torch.remainder(disturbance_deg, 180)
        loss = error(after - before, period) + losses.outside_deg(before) + losses.outside_deg(after)
        if self.joint:
            loss = loss + _AUTOENCODER_WEIGHT * self._reconstruction_error(model, spectra[:, 0], before)
        return loss.mean()

    def _reconstruction_error(self, model: nn.Module, spectra: Tensor, angle_deg: Tensor) -> Tensor:
        """Reconstruction error (B,) of the autoencoder for the spectrum rotated back by the prediction.

        The recipe's text has the aligned image in place of this spectrum.
        """
        aligned = rotated_with_noise(spectra, -angle_deg)
        rebuilt = getattr(model, "module", model).autoencoder(aligned[:, None])[:, 0]
        return (rebuilt - aligned).square().mean(dim=(1, 2))

    def validate(self, model: nn.Module) -> float:
        """The recipe's loss on pairs of training images."""
        generator = torch.Generator(self.device).manual_seed(0)
        rows = torch.arange(self.validation_pairs, device=self.device)
        return self.loss(model, self.batch(rows, generator)).item()


def rotated_with_noise(images: Tensor, angle_deg: Tensor) -> Tensor:
    """Images (N, n, n) rotated by angles (N,) with bilinear interpolation, which leaves its trace in the noise."""
    angle = torch.deg2rad(angle_deg)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cosine, sine, zero], -1), torch.stack([-sine, cosine, zero], -1)], 1)
    grid = functional.affine_grid(matrix, [len(images), 1, *images.shape[1:]], align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False, padding_mode="reflection")[:, 0]


def features_of(network: CorrelationNetwork, images: Tensor, batch_size: int) -> Tensor:
    """Features (N, F, 180) of images (N, n, n), batch by batch."""
    return torch.cat([network(polar_spectra(batch, network.rings)) for batch in images.split(batch_size)])


def random_particles(paths: Sequence[Path]) -> tuple[list[Particle], list[Particle]]:
    """Noise-free random particles: for training, and for validation. Raises InputError where a file is damaged."""
    particles = []
    for stack in map(open_stack, paths):
        images = torch.from_numpy(stack.read(np.arange(stack.n_images)))
        particles += [particle(f"random{number}", image, stack.pixel_size_a) for number, image in enumerate(images)]
    validation_count = max(1, round(_VALIDATION_SHARE * len(particles)))
    return particles[:-validation_count], particles[-validation_count:]


def noisy_stacks(star: Path, stack: Path) -> list[LabelledStack]:
    """The stacks of a file except the pure-noise control; no pose is read."""
    return [labelled for labelled in read_labelled(star, stack) if labelled.name != NOISE_ONLY]


@torch.no_grad()
def stack_averages(
    stacks: Sequence[LabelledStack], network: CorrelationNetwork, rounds: int, device: torch.device
) -> list[Particle]:
    """The average of each stack by joint alignment, without true poses or noise-free images.

    Args:
        stacks: of noisy particles.
        network: its features are aligned.
        rounds: largest number of rounds of averaging and aligning.
        device: on which it runs.
    """
    averages = []
    for stack in stacks:
        images = stack.read().to(device)
        angle_deg, _ = joint(features_of(network, images, _BATCH), rounds)
        _, average = align_stack(images, angle_deg)
        averages.append(particle(stack.name, _in_disc(average).cpu(), stack.pixel_size_a))
    return averages


def _in_disc(average: torch.Tensor) -> torch.Tensor:
    """The average (n, n) less the mean of its rim, faded out towards the rim, which shows only noise."""
    n = average.shape[-1]
    axis = torch.arange(n, device=average.device) - n // 2
    radius = torch.hypot(axis[:, None].float(), axis.float()) / n
    level = average[(radius > 0.42) & (radius < 0.5)].mean()
    window = 0.5 + 0.5 * torch.cos(torch.pi * ((radius - 0.36) / 0.12).clamp(0, 1))
    return (average - level) * window
