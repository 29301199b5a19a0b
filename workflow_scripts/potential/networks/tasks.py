"""The training task of any arm: segmented images and the potential behind them."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.potential.networks.encoding import (
    Scenes,
    encode_potential,
    make_scenes,
    network_inputs,
    rotate_rows,
)
from workflow_scripts.potential.networks.losses import loss_by_row, weighted_terms
from workflow_scripts.potential.settings import Pretrain, Variant
from workflow_scripts.potential.simulation.samples import MATCHED, RING, Samples

_BATCH = 16
# The recipe's augmentation of its stretched images: share of the rows and largest strength.
_NOISE_SHARE, _NOISE_STD = 0.5, 0.035
_BLUR_SHARE, _BLUR_STD_PX = 0.2, (0.2, 0.6)
_STRETCH_SHARE, _STRETCH = 0.5, 0.1
_BLUR_RADIUS_PX = 3


@dataclass(frozen=True)
class Augmentation:
    """Range of the training dose and weights of the loss terms, the same in pretraining and finetuning.

    They are stored in the metadata of the weights under `lesson`.

    Attributes:
        dose_min_e_per_a2, dose_max_e_per_a2: range of the training dose, electrons per Å².
        gradient_weight, limited_weight: of terms of the corrected loss.
    """

    dose_min_e_per_a2: float
    dose_max_e_per_a2: float
    gradient_weight: float
    limited_weight: float

    @classmethod
    def of(cls, settings: Pretrain) -> "Augmentation":
        """Taken from the settings of the stage pretrain."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


class ImageTask:
    """A `learning.training.Task`: from four images and metadata to the potential.

    Args:
        train: training samples, N of them.
        validation: samples whose loss selects the weights.
        variant: the faults that are present.
        augmentation: doses, and weights of the loss.
        device: where the samples are kept.
    """

    def __init__(
        self, train: Samples, validation: Samples, variant: Variant, augmentation: Augmentation, device: torch.device
    ) -> None:
        self.n_samples = len(train)
        self._train, self._validation = (_Rows(samples, variant, device) for samples in (train, validation))
        self._variant = variant
        self._augmentation = augmentation
        self._terms = weighted_terms(variant, augmentation.gradient_weight, augmentation.limited_weight)
        self._device = device

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Network inputs (B, C, H, W) and targets (B, 2, H, W), randomly rotated and with random noise."""
        times = torch.randint(4, (len(indices),), generator=generator, device=self._device)
        scenes, potential = self._draw(self._train, indices, generator)
        scenes, potential = scenes.rotated(times), rotate_rows(potential, times)
        if not self._variant.noise_not_counted:
            scenes = scenes.counted(self._train.microscope.pixel_size_a, generator)
        inputs, target = self._encode(scenes, potential)
        if self._variant.noise_not_counted:
            inputs = torch.cat([disturb_as_the_recipe(inputs[:, :4], generator), inputs[:, 4:]], dim=1)
        return inputs, target

    def _draw(self, rows: "_Rows", indices: Tensor, generator: torch.Generator) -> tuple[Scenes, Tensor]:
        """Scenes without noise, of a detector and a dose drawn for each, and potentials (B, 2, H, W), V Å."""
        detectors = rows.images.shape[1]
        number = torch.randint(detectors, (len(indices),), generator=generator, device=self._device)
        share = torch.rand(len(indices), generator=generator, device=self._device)
        low, high = self._augmentation.dose_min_e_per_a2, self._augmentation.dose_max_e_per_a2
        scenes = make_scenes(
            rows.images[indices, number],
            rows.thickness_nm[indices],
            rows.rotation_deg[indices],
            number == 1,
            high * (low / high) ** share,
            rows.microscope,
        )
        return scenes, rows.potential[indices]

    def _encode(self, scenes: Scenes, potential: Tensor) -> tuple[Tensor, Tensor]:
        target = encode_potential(potential, scenes.thickness_nm, self._variant)
        return network_inputs(scenes, self._variant), target

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The weighted terms, a mean over rows."""
        inputs, target = batch
        return loss_by_row(model(inputs), target, self._terms).mean()

    def validate(self, model: nn.Module) -> float:
        """The loss over the validation samples: with the same noise every time, or without noise as in the recipe."""
        generator = torch.Generator(self._device).manual_seed(0)
        total, n = 0.0, len(self._validation.potential)
        for indices in torch.arange(n, device=self._device).split(_BATCH):
            scenes, potential = self._draw(self._validation, indices, generator)
            if not self._variant.noise_not_counted:
                scenes = scenes.counted(self._validation.microscope.pixel_size_a, generator)
            total += float(self.loss(model, self._encode(scenes, potential))) * len(indices)
        return total / n


class _Rows:
    """Samples as tensors: images (N, detectors, 4, H, W), potential (N, 2, H, W) full and band-limited, V Å."""

    def __init__(self, samples: Samples, variant: Variant, device: torch.device) -> None:
        detectors = (RING,) if variant.one_detector else (RING, MATCHED)
        images = [torch.as_tensor(samples.images[name], dtype=torch.float32) for name in detectors]
        potential = [torch.as_tensor(part) for part in (samples.potential, samples.potential_limited)]
        self.images = torch.stack(images, dim=1).to(device)
        self.potential = torch.stack(potential, dim=1).to(device, torch.float32)
        self.thickness_nm = torch.as_tensor(samples.thickness_nm, dtype=torch.float32, device=device)
        self.rotation_deg = torch.as_tensor(samples.rotation_deg, dtype=torch.float32, device=device)
        self.microscope = samples.microscope


def disturb_as_the_recipe(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise, blur and stretching, each on some of the rows: (B, 4, H, W) → the same.

    Frequencies and strengths are the recipe's: noise in half of the rows with a standard deviation up to 0.035, blur in
    a fifth with 0.2 to 0.6 pixels, a factor of 0.9 to 1.1 in half.
    """
    rows, device = len(images), images.device

    def uniform() -> Tensor:
        return torch.rand(rows, 1, 1, 1, generator=generator, device=device)

    noise = torch.randn(images.shape, generator=generator, device=device)
    images = images + (uniform() < _NOISE_SHARE) * _NOISE_STD * uniform() * noise
    blurred = uniform() < _BLUR_SHARE
    low, high = _BLUR_STD_PX
    std_px = low + (high - low) * uniform()
    images = torch.where(blurred, _blur(images, std_px.flatten()), images)
    return images * (1 + (uniform() < _STRETCH_SHARE) * _STRETCH * (2 * uniform() - 1))


def _blur(images: Tensor, std_px: Tensor) -> Tensor:
    """Gaussian blur of rows (B, C, H, W) with one standard deviation each, (B,)."""
    rows, channels = images.shape[:2]
    offset = torch.arange(-_BLUR_RADIUS_PX, _BLUR_RADIUS_PX + 1, device=images.device)
    kernel = torch.softmax(-0.5 * (offset / std_px[:, None]).square(), dim=1).repeat_interleave(channels, dim=0)
    padded = functional.pad(images, [_BLUR_RADIUS_PX] * 4, mode="replicate").flatten(0, 1)[None]  # (1, B C, …)
    for shape in ((-1, 1, len(offset), 1), (-1, 1, 1, len(offset))):
        padded = functional.conv2d(padded, kernel.view(shape), groups=rows * channels)
    return padded[0].unflatten(0, (rows, channels))
