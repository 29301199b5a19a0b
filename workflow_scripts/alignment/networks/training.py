"""Training of the networks, tasks and inputs: the rotations are drawn at random, so that no labels are needed.

Corrected: images of a known particle at several poses, each with its own contrast transfer and fresh noise. Published:
a pair of noisy images and the same pair rotated by known angles with its noise; the predictions must differ by the
difference of these angles. Any network that rotates with its input satisfies that, on pure noise too.
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

IMAGES = 4  # of each particle in a batch; all their pairs count
PAIRS = IMAGES * (IMAGES - 1) // 2
_VALIDATION_SHARE = 0.1  # of the random particles
_BATCH = 128
_AUTOENCODER_WEIGHT = 20.0  # the recipe's in its first epoch


@dataclass(frozen=True)
class Augmentation:
    """Settings of the training images, kept in the metadata of the weights: finetuning uses the same.

    Attributes:
        snr_min, snr_max: range of the signal-to-noise ratio.
        coloured_share: share of batches with coloured noise.
        validation_pairs: pairs that select the weights.
        largest_shift_px: largest shift of a particle along y and along x.
    """

    snr_min: float
    snr_max: float
    coloured_share: float
    validation_pairs: int
    largest_shift_px: int


@dataclass
class FreshNoiseTask:
    """The corrected arm's task of `learning.training.train`: particles are rows, all pairs of their images count.

    Args:
        particles: for training; without noise, bright inside.
        validation: particles that select the weights.
        microscope: contrast transfer.
        augmentation: settings of the images.
        rings: of the spectrum.
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
        """Spectra (B, 4, R, 180) and angles (B, 4) of as many particles as make the pairs; all drawn anew."""
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
        """Mean over particles, each the mean over the pairs of its images."""
        spectra, angle_deg = batch
        features = model(spectra.flatten(0, 1))
        whole = torch.fft.rfft(features).unflatten(0, spectra.shape[:2])  # (B, 4, F, 91)
        first, second = torch.triu_indices(IMAGES, IMAGES, 1, device=angle_deg.device)
        curves = torch.fft.irfft((whole[:, first] * whole[:, second].conj()).sum(dim=2), n=features.shape[-1])
        sharpness = getattr(model, "module", model).log_sharpness.exp()
        return losses.correlation_loss(sharpness * curves, angle_deg[:, first] - angle_deg[:, second]).mean()

    def validate(self, model: nn.Module) -> float:
        """The loss on the validation particles, at the same poses and with the same noise every time."""
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
        stacks: of one particle each, float32 (N, n, n); partners come from the same stack.
        variant: which faults are present.
        validation_pairs: drawn once, of the same images, as the recipe's are.
        joint: whether every image is paired with the first of its stack, and an autoencoder joins (JUDL).
        side_px: of the spectra that the network sees.
        n_samples: pairs in an epoch.
        device: where the images lie.
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
        self._first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes).to(self.device)  # of each image's stack
        self._size = torch.repeat_interleave(sizes, sizes).to(self.device)

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Spectra (B, 4, s, s) of A, B and both disturbed, and the difference of the disturbances (B,), degrees."""
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
        """The recipe's loss, of predictions against each other: a small value does not mean that they are right."""
        spectra, disturbance_deg = batch
        before, after = model(spectra[:, 0], spectra[:, 1]), model(spectra[:, 2], spectra[:, 3])
        error = losses.error_near_wraps_deg if self.variant.wrong_near_wraps else losses.circular_error_deg
        period = torch.remainder(disturbance_deg, 180)
        loss = error(after - before, period) + losses.outside_deg(before) + losses.outside_deg(after)
        if self.joint:
            loss = loss + _AUTOENCODER_WEIGHT * self._reconstruction_error(model, spectra[:, 0], before)
        return loss.mean()

    def _reconstruction_error(self, model: nn.Module, spectra: Tensor, angle_deg: Tensor) -> Tensor:
        """Error (B,) of the spectrum rotated back by the prediction, where the recipe means the aligned image."""
        aligned = rotated_with_noise(spectra, -angle_deg)
        rebuilt = getattr(model, "module", model).autoencoder(aligned[:, None])[:, 0]
        return (rebuilt - aligned).square().mean(dim=(1, 2))

    def validate(self, model: nn.Module) -> float:
        """The recipe's loss on pairs of training images."""
        generator = torch.Generator(self.device).manual_seed(0)
        rows = torch.arange(self.validation_pairs, device=self.device)
        return self.loss(model, self.batch(rows, generator)).item()


def rotated_with_noise(images: Tensor, angle_deg: Tensor) -> Tensor:
    """Images (N, n, n) rotated by angles (N,) by bilinear interpolation, which leaves its trace in the noise."""
    angle = torch.deg2rad(angle_deg)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cosine, sine, zero], -1), torch.stack([-sine, cosine, zero], -1)], 1)
    grid = functional.affine_grid(matrix, [len(images), 1, *images.shape[1:]], align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False, padding_mode="reflection")[:, 0]


def features_of(network: CorrelationNetwork, images: Tensor, batch_size: int) -> Tensor:
    """Features (N, F, 180) of images (N, n, n), batch by batch."""
    return torch.cat([network(polar_spectra(batch, network.rings)) for batch in images.split(batch_size)])


def random_particles(paths: Sequence[Path]) -> tuple[list[Particle], list[Particle]]:
    """Clean random particles for training, and others for validation; raises InputError where a file is broken."""
    particles = []
    for stack in map(open_stack, paths):
        images = torch.from_numpy(stack.read(np.arange(stack.n_images)))
        particles += [particle(f"random{number}", image, stack.pixel_size_a) for number, image in enumerate(images)]
    validation_count = max(1, round(_VALIDATION_SHARE * len(particles)))
    return particles[:-validation_count], particles[-validation_count:]


def noisy_stacks(star: Path, stack: Path) -> list[LabelledStack]:
    """The stacks of a file but those of pure noise, which are a control; no pose is read."""
    return [labelled for labelled in read_labelled(star, stack) if labelled.name != NOISE_ONLY]


@torch.no_grad()
def stack_averages(
    stacks: Sequence[LabelledStack], network: CorrelationNetwork, rounds: int, device: torch.device
) -> list[Particle]:
    """The average of each stack by joint alignment: no true pose and no clean image enters.

    Args:
        stacks: of noisy particles.
        network: whose features are aligned.
        rounds: of averaging and aligning, at most.
        device: where it is done.
    """
    averages = []
    for stack in stacks:
        images = stack.read().to(device)
        angle_deg, _ = joint(features_of(network, images, _BATCH), rounds)
        _, average = align_stack(images, angle_deg)
        averages.append(particle(stack.name, _in_disc(average).cpu(), stack.pixel_size_a))
    return averages


def _in_disc(average: torch.Tensor) -> torch.Tensor:
    """The average (n, n) less its rim's level, faded out towards the rim, where it shows noise alone."""
    n = average.shape[-1]
    axis = torch.arange(n, device=average.device) - n // 2
    radius = torch.hypot(axis[:, None].float(), axis.float()) / n
    level = average[(radius > 0.42) & (radius < 0.5)].mean()
    window = 0.5 + 0.5 * torch.cos(torch.pi * ((radius - 0.36) / 0.12).clamp(0, 1))
    return (average - level) * window
