"""Pretraining: from simulated patterns to the patches of phase behind them, in either arm."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

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


def read_examples(
    shards: Sequence[Path], variant: Variant, seed: int
) -> tuple[TensorDataset, TensorDataset, Illumination]:
    """Training and validation examples of all shards, and the illumination that they share.

    An example is its pattern float32 (n, n), the expected share of the electrons in each pixel; its counts float32
    (n, n), drawn once at the full dose; and its patch float32 (n, n) on the fine grid in rad, the mean not removed.

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
    probe, parts = light.probe.to(torch.complex64), torch.from_numpy(np.concatenate(phases)).split(_BATCH)
    examples = TensorDataset(
        torch.cat([diffraction_pattern(probe, part) for part in parts]),
        torch.from_numpy(np.concatenate(counts)).float(),
        torch.cat([forward.true_patch(part, light.upsampling) for part in parts]),
    )
    is_validation = torch.from_numpy(held_out)
    return TensorDataset(*examples[~is_validation]), TensorDataset(*examples[is_validation]), light


class PatternTask:
    """A `learning.training.Task`: from one noisy pattern to the phase in the illuminated patch.

    Args:
        train: examples of `read_examples` to learn from.
        validation: examples whose loss selects the weights (unless the variant fixes the epoch).
        light: the illumination of all.
        variant: the faults that are present.
        settings: range of the training dose.
        device: where the examples are kept.
    """

    def __init__(
        self,
        train: TensorDataset,
        validation: TensorDataset,
        light: Illumination,
        variant: Variant,
        settings: Pretrain,
        device: torch.device,
    ) -> None:
        self.n_samples = len(train)
        self._train, self._validation = (
            TensorDataset(*(tensor.to(device) for tensor in examples.tensors)) for examples in (train, validation)
        )
        self._mask = light.mask().to(device)
        self._pixels = self._mask.nonzero(as_tuple=True)  # once: to count them waits for the device
        self._variant = variant
        self._settings = settings
        self._device = device

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Network inputs (B, n, n), target patches (B, n, n), and the weight of each example (B,), 1 on average."""
        return self._make_batch(self._train[indices], generator)

    def first_patterns(self) -> tuple[Tensor, Tensor]:
        """Network inputs and targets (N, n, n) for a start in closed form, on the CPU."""
        generator = torch.Generator(self._device).manual_seed(0)
        patterns, target, _ = self._make_batch(self._train[:_FIRST_PATTERNS], generator)
        return patterns.cpu(), target.cpu()

    def _make_batch(self, examples: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        expected, counts, target = examples
        rows = len(expected)
        weight = torch.ones(rows, device=self._device)
        if self._variant.loss_on_first_sample:
            weight = weight.new_zeros(rows)
            weight[0].fill_(rows)
        if self._variant.noise_drawn_once:
            patterns = forward.network_input(counts, None)
        else:
            share = torch.rand(rows, 1, 1, generator=generator, device=self._device)
            dose = self._settings.dose_max_e * (self._settings.dose_min_e / self._settings.dose_max_e) ** share
            counts = poisson_counts(expected, dose, generator)
            patterns = forward.network_input(counts, dose)
        if not self._variant.target_keeps_mean:
            target = forward.remove_mask_mean(target, self._mask)
        return patterns, target, weight

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Mean absolute error in the mask, rad."""
        patterns, target, weight = batch
        return weighted_absolute_error(model(patterns), target, self._pixels, weight)

    def validate(self, model: nn.Module) -> float:
        """The loss over the validation examples, with the same noise every time."""
        generator = torch.Generator(self._device).manual_seed(0)
        total = 0.0
        for index in torch.arange(len(self._validation), device=self._device).split(_BATCH):
            batch = self._make_batch(self._validation[index], generator)
            total += float(self.loss(model, batch)) * len(index)
        return total / len(self._validation)
