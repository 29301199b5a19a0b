"""Pretraining: from simulated patterns to the patches of phase behind them, in either arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts.diffractive_imaging.networks.losses import weighted_absolute_error
from workflow_scripts.diffractive_imaging.settings import Pretrain, Variant
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.optics.noise import poisson_counts
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays

_BATCH = 512
_FIRST_PATTERNS = 8192


@dataclass(frozen=True)
class Examples:
    """Patterns with their patches; tensors on one device.

    pattern: float32 (N, n, n), the expected share of the electrons in each pixel.
    counts: float32 (N, n, n), drawn once at the full dose.
    patch_rad: float32 (N, n, n) on the fine grid, its mean not removed.
    """

    pattern: Tensor
    counts: Tensor
    patch_rad: Tensor

    def __len__(self) -> int:
        return len(self.pattern)

    def to(self, device: torch.device) -> "Examples":
        """The examples on a device."""
        return Examples(self.pattern.to(device), self.counts.to(device), self.patch_rad.to(device))

    def rows(self, index: Tensor) -> "Examples":
        """Some of the examples."""
        return Examples(self.pattern[index], self.counts[index], self.patch_rad[index])


def read_examples(shards: Sequence[Path], variant: Variant, seed: int) -> tuple[Examples, Examples, Illumination]:
    """Training and validation examples of all shards, and the illumination that they share.

    Raises:
        InputError: a shard is broken, or was made for another probe.
    """
    light = Illumination.read(shards[0])
    phases, counts, validation = [], [], []
    for path in shards:
        if not torch.equal(Illumination.read(path).probe, light.probe):
            raise InputError(f"{path} was made for another probe than {shards[0]}; make the shards again")
        arrays = read_arrays(path, ["phase_rad", "counts", "validation"])
        phases.append(arrays["phase_rad"])
        counts.append(arrays["counts"])
        validation.append(arrays["validation"])
    held_out = np.concatenate(validation)
    if variant.validation_split_by_sample:
        # As many samples as the other arm holds out, but of any photograph.
        held_out = np.random.default_rng(seed).permutation(held_out)
    examples = _examples(light, np.concatenate(phases), np.concatenate(counts))
    chosen = torch.from_numpy(held_out)
    return examples.rows(~chosen), examples.rows(chosen), light


def _examples(light: Illumination, phase_rad: np.ndarray, counts: np.ndarray) -> Examples:
    probe = light.probe.to(torch.complex64)
    parts = torch.from_numpy(phase_rad).split(_BATCH)
    return Examples(
        pattern=torch.cat([diffraction_pattern(probe, part) for part in parts]),
        counts=torch.from_numpy(counts).float(),
        patch_rad=torch.cat([forward.true_patch(part, light.upsampling) for part in parts]),
    )


class PatternTask:
    """The task of `learning.training.train`: from one noisy pattern to the phase in the illuminated patch.

    Args:
        train: examples to learn from.
        validation: examples that choose the weights (where the variant lets them).
        light: the illumination of all.
        variant: the faults that are present.
        settings: range of the training dose.
        device: where the examples are kept.
    """

    def __init__(
        self,
        train: Examples,
        validation: Examples,
        light: Illumination,
        variant: Variant,
        settings: Pretrain,
        device: torch.device,
    ) -> None:
        self.n_samples = len(train)
        self._train, self._validation = train.to(device), validation.to(device)
        self._mask = light.mask().to(device)
        self._variant = variant
        self._settings = settings
        self._device = device

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Network inputs (B, n, n), target patches (B, n, n), and the weight of each row (B,), 1 on average."""
        return self._make(self._train.rows(indices), generator)

    def first_patterns(self) -> tuple[Tensor, Tensor]:
        """Network inputs and targets (N, n, n) for a start in closed form, on the CPU."""
        generator = torch.Generator(self._device).manual_seed(0)
        rows = torch.arange(min(_FIRST_PATTERNS, self.n_samples), device=self._device)
        patterns, target, _ = self._make(self._train.rows(rows), generator)
        return patterns.cpu(), target.cpu()

    def _make(self, examples: Examples, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        rows = len(examples)
        weight = torch.ones(rows, device=self._device)
        if self._variant.loss_on_first_sample:
            weight = weight.new_zeros(rows)
            weight[0] = rows
        if self._variant.noise_drawn_once:
            patterns = forward.network_input(examples.counts, None)
        else:
            share = torch.rand(rows, 1, 1, generator=generator, device=self._device)
            dose = self._settings.dose_max_e * (self._settings.dose_min_e / self._settings.dose_max_e) ** share
            counts = poisson_counts(examples.pattern, dose, generator)
            patterns = forward.network_input(counts, dose)
        target = examples.patch_rad
        if not self._variant.target_keeps_mean:
            target = forward.remove_mask_mean(target, self._mask)
        return patterns, target, weight

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Mean absolute error in the mask, rad."""
        patterns, target, weight = batch
        return weighted_absolute_error(model(patterns).float(), target, self._mask, weight)

    def validate(self, model: nn.Module) -> float:
        """The loss over the validation examples, with the same noise every time."""
        generator = torch.Generator(self._device).manual_seed(0)
        total = 0.0
        for index in torch.arange(len(self._validation), device=self._device).split(_BATCH):
            batch = self._make(self._validation.rows(index), generator)
            total += float(self.loss(model, batch)) * len(index)
        return total / len(self._validation)
