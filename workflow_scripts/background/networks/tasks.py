"""Training task of the networks of all arms. An item is a set of tiles of one session, and the log flat field of the
first tile; the loss is `BackgroundTask.loss`."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts.background.networks.conditions import centred, conditions, published_conditions
from workflow_scripts.background.networks.diffusion import TIMES, noised, target
from workflow_scripts.background.networks.losses import mean_square_error, rms_error
from workflow_scripts.background.settings import ARMS, Finetune, Pretrain, Variant
from workflow_scripts.background.simulation.composing import DeviceTiles, counted_set, idealised_pair
from workflow_scripts.background.simulation.tile_files import TrainingTiles
from workflow_scripts.learning.transfers import host_generator
from workflow_scripts.workflow.errors import InputError

SCALE = 0.03  # unit of the corrected network's output, in natural logarithms
_DROPPED = 0.1  # fraction of items whose condition is dropped in the recipe
_BATCH = 16
_VALIDATION_SEED = 0
_VALIDATION_INTERVAL = 4  # one in so many sessions, specimens or moments is used for validation

Items = Pretrain | Finetune  # settings with the numbers of training and validation items
Split = tuple[TrainingTiles, TrainingTiles]  # for training, and for validation


def pretraining_split(tiles: TrainingTiles, variant: Variant) -> Split:
    """Training tiles and validation tiles.

    Corrected: sessions of microscopes that are not tested; a quarter of the sessions and of the specimens is for
    validation. Published: all data, including earlier sessions of the test microscopes, both train and validate.

    Raises:
        InputError: there are too few sessions to split.
    """
    if variant.sessions_shared:
        return tiles, tiles
    sessions = np.flatnonzero(~tiles.held_out)
    if len(sessions) < 2:
        raise InputError(
            f"the training files hold {len(sessions)} sessions of microscopes that are not tested, but at least 2 are"
            " needed, one for training and one for validation; raise synthesize.instruments"
        )
    return _split(tiles, tiles.log_flat[sessions], axis=0)


def finetuning_split(tiles: TrainingTiles, variant: Variant) -> Split:
    """Earlier sessions of the test microscopes; the last moments of each are for validation.

    Raises:
        InputError: the files hold no such session.
    """
    flats = tiles.log_flat[tiles.held_out]
    if not len(flats):
        raise InputError("the training files hold no session of a tested microscope to finetune on; synthesize again")
    if variant.sessions_shared:
        earlier = replace(tiles, log_flat=flats, held_out=np.ones(len(flats), bool))
        return earlier, earlier
    return _split(tiles, flats, axis=1)


def _split(tiles: TrainingTiles, flats: np.ndarray, axis: int) -> Split:
    """Split off the last quarter of the flats (K, J, H, W) along an axis, and of the specimens, for validation."""
    parts = (_parts(flats, axis), _parts(tiles.log_transmission))
    return tuple(
        replace(tiles, log_flat=log_flat, log_transmission=specimens, held_out=np.zeros(len(log_flat), bool))
        for log_flat, specimens in zip(*parts, strict=True)
    )


def _parts(array: np.ndarray, axis: int = 0) -> list[np.ndarray]:
    number = array.shape[axis]
    return np.split(array, [number - max(1, number // _VALIDATION_INTERVAL)], axis=axis)


def reference(channels: Tensor) -> Tensor:
    """The median of the set, to which the output of the network is added: (B, 6, H, W) → (B, 1, H, W)."""
    return channels[:, 2:3]


def network_target(channels: Tensor, log_flat: Tensor, valid: Tensor) -> Tensor:
    """The image that is diffused (B, 1, H, W): log flat field less `reference`, scaled to about unit variance, 0 where
    pixels are dead."""
    return centred(log_flat - reference(channels), valid) * valid / SCALE


class BackgroundTask:
    """The `learning.training.Task` of all arms.

    Args:
        split: specimens and sessions for training, and for validation.
        arm: name of the arm.
        settings: numbers of items in an epoch and for validation.
        largest_set: largest number of tiles in an item.
        device: where items are composed.
        flipped: whether flat fields are flipped and transposed at random.
    """

    def __init__(
        self, split: Split, arm: str, settings: Items, largest_set: int, device: torch.device, flipped: bool = True
    ) -> None:
        self.n_samples = settings.pairs
        self._variant, self._largest_set = ARMS[arm], largest_set
        self._training_tiles, validation_tiles = (DeviceTiles.of(tiles, device, flipped) for tiles in split)
        generator = torch.Generator(device).manual_seed(_VALIDATION_SEED)
        self._validation = [
            self._compose(validation_tiles, min(_BATCH, settings.validation_pairs - start), generator)
            for start in range(0, settings.validation_pairs, _BATCH)
        ]

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Conditions (B, C, H, W), the image that is diffused (B, 1, H, W), valid pixels, noise, times (B,)."""
        return self._compose(self._training_tiles, len(indices), generator)

    def _compose(self, source: DeviceTiles, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        device, published = source.flats.device, self._variant.rescaled_to_mean
        if published:
            channels, image = self._recipe(source, rows, generator)
            valid = torch.ones_like(image)
        else:
            share = float(torch.rand((), generator=host_generator(generator)))
            tiles = min(self._largest_set, int(2 * ((self._largest_set + 1) / 2) ** share))
            logs, valid, flats = counted_set(source, rows, tiles, tiles / self._largest_set, generator)
            channels, valid = conditions(logs, valid)
            image = network_target(channels, flats[:, :1], valid)
        noise = torch.randn(image.shape, generator=generator, device=device)
        # Stratified times within a batch make the loss less noisy
        times = (torch.rand((), generator=generator, device=device) + torch.arange(rows, device=device) / rows) % 1
        if not published:
            times = 1 - (1 - times) ** 2  # more training at high noise, where a sampler of few steps decides
        return channels, image, valid.to(image.dtype), noise, (times * TIMES).long().clamp(max=TIMES - 1)

    def _recipe(self, source: DeviceTiles, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pair, flat = idealised_pair(source, rows, self._variant.mixed_normalisation, generator)
        channels = published_conditions(pair)
        if self._variant.dropped_without_guidance:
            present = torch.rand(rows, 1, 1, 1, generator=generator, device=channels.device) >= _DROPPED
            channels = channels * present
        return channels, 2 * flat - 1

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Mean over the rows of the RMS error over valid pixels; in the recipe of the mean square error."""
        channels, image, valid, noise, times = batch
        if self._variant.regression:
            output, truth = regress(model, channels), image
        else:
            output = model(torch.cat([noised(image, noise, times), channels], dim=1), times)
            truth = target(image, noise, times, self._variant.prediction_type)
        error = mean_square_error if self._variant.rescaled_to_mean else rms_error
        return error(output, truth, valid).mean()

    def validate(self, model: nn.Module) -> float:
        """The loss on the validation items, which are the same in every epoch."""
        rows = sum(len(batch[0]) for batch in self._validation)
        return sum(float(self.loss(model, batch)) * len(batch[0]) for batch in self._validation) / rows


def regress(model: nn.Module, channels: Tensor) -> Tensor:
    """The output of a network as regression, with zeros for the noisy image: (B, 6, H, W) → (B, 1, H, W)."""
    times = torch.full((len(channels),), TIMES - 1, device=channels.device)
    return model(torch.cat([torch.zeros_like(channels[:, :1]), channels], dim=1), times)
