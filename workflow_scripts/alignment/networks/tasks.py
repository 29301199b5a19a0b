"""What the networks are trained on: rotations that we drew ourselves, so that no label of any data is needed.

Corrected: images of a known particle at several poses, each with its own contrast transfer and fresh noise. Published:
a pair of noisy images and the same pair turned by known angles, noise and all; the difference between the answers must
be the difference between the turns. Any network that turns with its input satisfies that, on pure noise too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.alignment.networks.losses import (
    circular_error_deg,
    correlation_loss,
    error_near_wraps_deg,
    outside_deg,
)
from workflow_scripts.alignment.networks.model import CorrelationNetwork, polar_spectra, recipe_spectra
from workflow_scripts.alignment.simulation.imaging import DrawnPoses, Microscope, Simulator
from workflow_scripts.alignment.simulation.particles import Particle
from workflow_scripts.alignment.variants import Variant

IMAGES = 4  # of each particle in a batch; all their pairs count
PAIRS = IMAGES * (IMAGES - 1) // 2
_AUTOENCODER_WEIGHT = 20.0  # the recipe's in its first epoch


@dataclass(frozen=True)
class Lesson:
    """How training images are made; kept in the metadata of the weights, so that finetuning makes them alike.

    Attributes:
        snr_min, snr_max: range of the signal-to-noise ratio.
        coloured_share: share of batches with coloured noise.
        validation_pairs: that choose the weights.
        largest_shift_px: of a particle along y and along x.
    """

    snr_min: float
    snr_max: float
    coloured_share: float
    validation_pairs: int
    largest_shift_px: int


class FreshNoiseTask:
    """The corrected arm's task of `learning.training.train`: particles are rows, all pairs of their images count.

    Args:
        particles: to learn from; without noise, bright inside.
        validation: particles that choose the weights.
        microscope: contrast transfer.
        lesson: how images are made.
        rings: of the spectrum.
        pairs: in an epoch.
        device: where images are made.
    """

    def __init__(
        self,
        particles: Sequence[Particle],
        validation: Sequence[Particle],
        microscope: Microscope,
        lesson: Lesson,
        rings: int,
        pairs: int,
        device: torch.device,
    ) -> None:
        self.n_samples = pairs
        self._validation_rows = max(1, lesson.validation_pairs // PAIRS)
        self._lesson, self._rings = lesson, rings
        self._train, self._validation = (
            {noise: Simulator(some, microscope, lesson.snr_min, noise, device) for noise in ("white", "coloured")}
            for some in (particles, validation)
        )
        self._device = device

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Spectra (B, 4, R, 180) and angles (B, 4) of as many particles as make the pairs; all drawn anew."""
        return self._draw(self._train, max(1, len(indices) // PAIRS), generator)

    def _draw(self, simulators: dict[str, Simulator], rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        share = float(torch.rand(1, generator=generator, device=self._device))
        coloured = float(torch.rand(1, generator=generator, device=self._device)) < self._lesson.coloured_share
        simulator = simulators["coloured" if coloured else "white"]
        low, high = self._lesson.snr_min, self._lesson.snr_max
        simulator.snr = low * (high / low) ** share
        poses = simulator.draw_poses(rows * IMAGES, generator, self._lesson.largest_shift_px, whole_px=False)
        particle = torch.randint(len(simulator.particles), (rows,), generator=generator, device=self._device)
        poses = DrawnPoses(particle.repeat_interleave(IMAGES), poses.angle_deg, poses.shift_px, poses.defocus_a)
        spectra = polar_spectra(simulator.draw(poses, generator), self._rings)
        return spectra.unflatten(0, (rows, IMAGES)), poses.angle_deg.unflatten(0, (rows, IMAGES))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean over particles, each the mean over the pairs of its images."""
        spectra, angle_deg = batch
        features = model(spectra.flatten(0, 1)).float()
        whole = torch.fft.rfft(features).unflatten(0, spectra.shape[:2])  # (B, 4, F, 91)
        first, second = torch.triu_indices(IMAGES, IMAGES, 1, device=angle_deg.device)
        curves = torch.fft.irfft((whole[:, first] * whole[:, second].conj()).sum(dim=2), n=features.shape[-1])
        sharpness = getattr(model, "module", model).log_sharpness.exp()
        return correlation_loss(sharpness * curves, angle_deg[:, first] - angle_deg[:, second]).mean()

    def validate(self, model: nn.Module) -> float:
        """The loss on particles of their own, at the same poses and with the same noise every time."""
        generator = torch.Generator(self._device).manual_seed(0)
        losses = [
            float(self.loss(model, self._draw(self._validation, 4, generator)))
            for _ in range(math.ceil(self._validation_rows / 4))
        ]
        return sum(losses) / len(losses)


class DisturbanceTask:
    """The published arm's task: pairs of images of one stack, before and after known turns.

    Args:
        stacks: of one particle each, float32 (N, n, n); partners come from the same stack.
        variant: which faults are present.
        validation_pairs: drawn once, of the same images, as the recipe's are.
        joint: whether every image is paired with the first of its stack, and an autoencoder joins (JUDL).
        side_px: of the spectra that the network sees.
        pairs: in an epoch.
        device: where the images lie.
    """

    def __init__(
        self,
        stacks: Sequence[Tensor],
        variant: Variant,
        validation_pairs: int,
        joint: bool,
        side_px: int,
        pairs: int,
        device: torch.device,
    ) -> None:
        self.n_samples = pairs
        self._images = torch.cat(list(stacks)).to(device)
        sizes = torch.tensor([len(stack) for stack in stacks])
        self._first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes).to(device)  # of each image's stack
        self._size = torch.repeat_interleave(sizes, sizes).to(device)
        self._variant, self._joint, self._side_px, self._device = variant, joint, side_px, device
        self._validation_pairs = validation_pairs

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Spectra (B, 4, s, s) of A, B and both disturbed, and the difference of the disturbances (B,), degrees."""
        rows = len(indices)
        first = torch.randint(len(self._images), (rows,), generator=generator, device=self._device)
        share = torch.rand(rows, generator=generator, device=self._device)
        partner = self._first[first] + (0 if self._joint else (share * self._size[first]).long())
        turn_deg = 360 * torch.rand(2, rows, generator=generator, device=self._device)
        images = [self._images[first], self._images[partner]]
        images += [turned_with_noise(image, turn) for image, turn in zip(images, turn_deg, strict=True)]
        return torch.stack([recipe_spectra(image, self._side_px) for image in images], dim=1), turn_deg[0] - turn_deg[1]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """What the recipe says of its own answers: small does not mean right."""
        spectra, disturbance_deg = batch
        before, after = model(spectra[:, 0], spectra[:, 1]), model(spectra[:, 2], spectra[:, 3])
        error = error_near_wraps_deg if self._variant.wrong_near_wraps else circular_error_deg
        period = torch.remainder(disturbance_deg, 180)
        loss = error(after - before, period) + outside_deg(before) + outside_deg(after)
        if self._joint:
            loss = loss + _AUTOENCODER_WEIGHT * self._reconstruction_error(model, spectra[:, 0], before)
        return loss.mean()

    def _reconstruction_error(self, model: nn.Module, spectra: Tensor, angle_deg: Tensor) -> Tensor:
        """Of the spectrum turned back by the answer, where the aligned image is meant: (B,)."""
        aligned = turned_with_noise(spectra, -angle_deg)
        rebuilt = getattr(model, "module", model).autoencoder(aligned[:, None])[:, 0]
        return (rebuilt - aligned).square().mean(dim=(1, 2))

    def validate(self, model: nn.Module) -> float:
        """The recipe's loss on pairs that were trained on too."""
        generator = torch.Generator(self._device).manual_seed(0)
        rows = torch.arange(self._validation_pairs, device=self._device)
        return self.loss(model, self.batch(rows, generator)).item()


def turned_with_noise(images: Tensor, angle_deg: Tensor) -> Tensor:
    """Images (N, n, n) turned by angles (N,) by bilinear interpolation, which the noise remembers."""
    angle = torch.deg2rad(angle_deg)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cosine, sine, zero], -1), torch.stack([-sine, cosine, zero], -1)], 1)
    grid = functional.affine_grid(matrix, [len(images), 1, *images.shape[1:]], align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False, padding_mode="reflection")[:, 0]


def features_of(network: CorrelationNetwork, images: Tensor, batch_size: int) -> Tensor:
    """Features (N, F, 180) of images (N, n, n), batch by batch."""
    return torch.cat([network(polar_spectra(some, network.rings)) for some in images.split(batch_size)])
