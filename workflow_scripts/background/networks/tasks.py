"""What the network is trained on: sets of tiles of one session and the log flat field of the first, in any arm."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workflow_scripts.background.networks.conditions import (
    CHANNELS,
    PUBLISHED_CHANNELS,
    centred,
    conditions,
    published_conditions,
)
from workflow_scripts.background.networks.diffusion import TIMES, noised, wanted
from workflow_scripts.background.networks.variants import UNET, VARIANTS
from workflow_scripts.background.simulation.composing import Material, counted_set, idealised_pair
from workflow_scripts.background.simulation.tile_files import Bank

SCALE = 0.03  # natural logarithm; unit of the corrected network's output
_DROPPED = 0.1  # share of items whose condition is dropped, in the recipe
_BATCH = 16
_ROUNDING = 1e-6  # keeps the root's slope finite where nothing is wrong
_VALIDATION_SEED = 0


@dataclass(frozen=True)
class Arm:
    """What an arm's network takes and predicts.

    Attributes:
        published: the recipe, with its intensities; else logarithms.
        regression: no noise enters, and one pass gives the result.
    """

    published: bool
    regression: bool

    @classmethod
    def of(cls, name: str) -> "Arm":
        """The arm of that name."""
        return cls(name in VARIANTS and VARIANTS[name].rescaled_to_mean, name == UNET)

    @property
    def channels(self) -> int:
        """Of the network's input: the noisy image and the conditions."""
        return 1 + len(PUBLISHED_CHANNELS if self.published else CHANNELS)

    @property
    def answer(self) -> str:
        """What the network predicts: `noise` or `velocity`."""
        return "noise" if self.published else "velocity"


def reference(seen: Tensor) -> Tensor:
    """The log flat field to which the output is added, the median of the set: (B, 6, H, W) → (B, 1, H, W)."""
    return seen[:, 2:3]


def network_target(seen: Tensor, log_flat: Tensor, valid: Tensor) -> Tensor:
    """What is diffused, of unit variance about: (B, 1, H, W), 0 where pixels are dead."""
    return centred(log_flat - reference(seen), valid) * valid / SCALE


class BackgroundTask:
    """The task of `learning.training.train`.

    Args:
        train, validation: specimens and sessions to learn from, and to choose the weights.
        arm: name of the arm.
        pairs, validation_pairs: items in an epoch, and in the validation.
        largest_set: largest number of tiles in an item.
        device: where items are composed.
        turned: whether flat fields are flipped and turned at random.
    """

    def __init__(
        self,
        train: Bank,
        validation: Bank,
        arm: str,
        pairs: int,
        validation_pairs: int,
        largest_set: int,
        device: torch.device,
        turned: bool = True,
    ) -> None:
        self.n_samples = pairs
        self._arm, self._variant = Arm.of(arm), VARIANTS.get(arm, VARIANTS["corrected"])
        self._largest = largest_set
        self._material = Material.of(train, device, turned)
        generator = torch.Generator(device).manual_seed(_VALIDATION_SEED)
        material = Material.of(validation, device, turned)
        self._validation = [
            self._compose(material, min(_BATCH, validation_pairs - start), generator)
            for start in range(0, validation_pairs, _BATCH)
        ]

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Conditions (B, C, H, W), what is diffused (B, 1, H, W), valid pixels, noise, times (B,)."""
        return self._compose(self._material, len(indices), generator)

    def _compose(self, material: Material, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        device = material.flats.device
        if self._arm.published:
            seen, target = self._recipe(material, rows, generator)
            valid = torch.ones_like(target)
        else:
            share = float(torch.rand((), generator=generator, device=device))
            tiles = min(self._largest, int(2 * ((self._largest + 1) / 2) ** share))
            logs, valid, flats = counted_set(material, rows, tiles, tiles / self._largest, generator)
            seen, valid = conditions(logs, valid)
            target = network_target(seen, flats[:, :1], valid)
        noise = torch.randn(target.shape, generator=generator, device=device)
        # Spread evenly within a batch, which makes the loss less noisy
        times = (torch.rand((), generator=generator, device=device) + torch.arange(rows, device=device) / rows) % 1
        if not self._arm.published:
            times = 1 - (1 - times) ** 2  # a sampler of few steps decides early, where there is little but noise
        return seen, target, valid.to(target.dtype), noise, (times * TIMES).long().clamp(max=TIMES - 1)

    def _recipe(self, material: Material, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pair, flat = idealised_pair(material, rows, self._variant.mixed_normalisation, generator)
        seen, target = published_conditions(pair), 2 * flat - 1
        if self._variant.dropped_without_guidance:
            kept = torch.rand(rows, 1, 1, 1, generator=generator, device=seen.device) >= _DROPPED
            seen = seen * kept
        return seen, target

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """The error over valid pixels, a mean over rows: the root mean square, in the recipe the mean square."""
        seen, target, valid, noise, times = batch
        if self._arm.regression:
            output, truth = regress(model, seen), target
        else:
            output = model(torch.cat([noised(target, noise, times), seen], dim=1), times)
            truth = wanted(target, noise, times, self._arm.answer)
        squared = ((output.float() - truth) * valid).square().mean(dim=(1, 2, 3))
        # The root of every row is what counts in the end; few hopeless sets would rule its square
        return squared.mean() if self._arm.published else (squared + _ROUNDING).sqrt().mean()

    def validate(self, model: nn.Module) -> float:
        """The loss of the validation items, which are the same every time."""
        rows = sum(len(batch[0]) for batch in self._validation)
        return sum(float(self.loss(model, batch)) * len(batch[0]) for batch in self._validation) / rows


def regress(model: nn.Module, seen: Tensor) -> Tensor:
    """The output of a network without a noisy image: (B, 6, H, W) → (B, 1, H, W)."""
    times = torch.full((len(seen),), TIMES - 1, device=seen.device)
    return model(torch.cat([torch.zeros_like(seen[:, :1]), seen], dim=1), times)
