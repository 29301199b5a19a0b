"""A trained network as an estimator of the log flat field: the arms, and plain regression."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.background.networks.conditions import centred, conditions, published_conditions, without_level
from workflow_scripts.background.networks.diffusion import sample, times_from_noise, times_of_the_recipe
from workflow_scripts.background.networks.model import load_network
from workflow_scripts.background.networks.tasks import SCALE, reference, regress
from workflow_scripts.background.settings import ARMS, Variant
from workflow_scripts.background.settings import SamplerSettings as Options
from workflow_scripts.background.simulation.sessions import Predictions, nearest_in_order, session_logs
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.learning.devices import leased_device
from workflow_scripts.learning.precision import MixedPrecision, Precision
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job

SET_SIZES = 2, 4, 16  # tiles in a set; only 2 before finetuning, and for the published arm
RECIPE_STEPS = 50
_RECIPE_MEAN = 0.7
_DARKEST = 1e-3  # lower limit of the recipe's flat field, so that its logarithm is finite


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """Predictions from pairs by the pretrained and the finetuned network, and from larger sets by the latter.

    For the error against the number of steps (conditions `steps=…;tiles=2`) the finetuned network predicts some tiles
    of every session, whose numbers are in `tile_numbers`.

    Raises:
        InputError: weights are missing, damaged, or of another arm.
    """
    job.require("pretrained", "finetuned")
    with leased_device(job.arguments.gpus) as device:
        job.device = str(device)
        return _predictions(job, tiles, device)


def _predictions(job: Job, tiles: RawTiles, device: torch.device) -> Predictions:
    arguments, count = job.arguments, tiles.counts.shape[1]
    sampling: Options = arguments.options
    arm, variant = arguments.estimator, ARMS[arguments.estimator]
    has_spread = not variant.one_sample and not variant.regression
    predictions = {}
    for stage in ("pretrained", "finetuned"):
        estimator = NetworkEstimator.load(job.input(stage), arm, sampling, device, arguments.precision)
        for size in SET_SIZES if stage == "finetuned" and not variant.partner_unsorted else SET_SIZES[:1]:
            sets = any_partner(count, sampling.seed) if variant.partner_unsorted else nearest_in_order(count, size)
            flats, spreads = session_flats(estimator, tiles, sets)
            arrays = {"log_flat": flats, "spread": spreads} if has_spread else {"log_flat": flats}
            predictions[stage, condition(tiles=size)] = arrays
    if has_spread:
        pairs = nearest_in_order(count, SET_SIZES[0])
        numbers = np.linspace(0, count - 1, min(count, sampling.curve_tiles)).round().astype(int)
        for steps in sampling.curve_steps:
            flats, _ = session_flats(estimator.with_sampling(steps=steps), tiles, pairs[numbers])
            arrays = {"log_flat": flats, "tile_numbers": numbers}
            predictions["finetuned", condition(steps=steps, tiles=SET_SIZES[0])] = arrays
    return predictions


def any_partner(tiles: int, seed: int) -> np.ndarray:
    """Each tile with a random other one, as from an unsorted listing: int (tiles, 2)."""
    place = np.arange(tiles)
    return np.stack([place, (place + np.random.default_rng(seed).integers(1, tiles, tiles)) % tiles], axis=1)


def session_flats(estimator: "NetworkEstimator", tiles: RawTiles, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log flat fields and spreads float32 (K, M, H, W) of M tiles of each of K sessions.

    Args:
        estimator: its only input is computed from counts and dark frame.
        tiles: the sessions.
        sets: int (M, N), tile numbers of each set; the flat field of the first is estimated.
    """
    sessions = []
    for counts in tiles.counts:
        logs, dead = session_logs(counts, tiles.dark)
        sessions.append(estimator.estimate_sets(logs[sets], ~dead[sets]))
    flats, spreads = (np.stack(arrays) for arrays in zip(*sessions, strict=True))
    return flats, spreads


@dataclass
class NetworkEstimator:
    """Estimates the log flat field of the first tile of a set, and its spread, from sets of tiles of one session.

    Attributes:
        network: in evaluation mode, on the device.
        variant: its arm.
        side_px: side of its training images, px.
        sampling: for the corrected arm; the recipe uses 50 steps and 1 sample, regression does not sample.
        device: on which it runs.
    """

    network: nn.Module
    variant: Variant
    side_px: int
    sampling: Options
    device: torch.device

    @classmethod
    def load(cls, path: Path, arm: str, sampling: Options, device: torch.device, precision: Precision) -> Self:
        """The estimator with the weights of a file; raises the errors of `load_network`."""
        network, about = load_network(path, arm)
        network = MixedPrecision(network.to(device), device, precision).eval()
        return cls(network, ARMS[arm], about["side_px"], sampling, device)

    def with_sampling(self, **changes: int) -> Self:
        """The same network with some sampler settings changed."""
        return replace(self, sampling=self.sampling.model_copy(update=changes))

    @torch.no_grad()
    def estimate_sets(self, logs: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log flat fields of the first tile of every set, mean 0, and the standard deviations of their samples.

        A tile larger than the training images is estimated in two passes: first as a whole, binned, then the residual
        at full resolution. Structure longer than a training image is removed from the second pass and left to the
        first.

        Args:
            logs: ln of K sets of N ≥ 2 tiles of one session (K, N, H, W), of any height and width.
            valid: bool (K, N, H, W), pixels with enough light.

        Returns:
            float32 (K, H, W) each.
        """
        generator = torch.Generator(self.device).manual_seed(self.sampling.seed)
        rows = max(1, self.sampling.batch_size // self._samples_per_set)
        batches = []
        for start in range(0, len(logs), rows):
            batch = torch.as_tensor(logs[start : start + rows]).float().to(self.device)
            valid_batch = torch.as_tensor(valid[start : start + rows]).to(self.device)
            batches.append([images[:, 0].cpu().numpy() for images in self._by_passes(batch, valid_batch, generator)])
        flats, spreads = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return flats, spreads

    @property
    def _samples_per_set(self) -> int:
        return 1 if self.variant.regression or self.variant.rescaled_to_mean else self.sampling.samples

    def _by_passes(self, logs: Tensor, valid: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Log flat field and spread (B, 1, H, W) of sets (B, N, H, W)."""
        if self.variant.rescaled_to_mean:
            return self._recipe(logs, valid, generator)
        flat, spread = torch.zeros_like(logs[:, :1]), torch.zeros_like(logs[:, :1])
        passes = self._bins(*logs.shape[-2:])
        for bins in passes:
            residual, valid_bins = binned(without_level(logs - flat, valid), valid, bins)
            correction, uncertainty = self._estimate(*conditions(residual, valid_bins), generator)
            if bins > 1:
                correction, uncertainty = (
                    spread_out(image, bins, *logs.shape[-2:]) for image in (correction, uncertainty)
                )
            elif len(passes) > 1:
                correction = correction - smooth(correction, self.side_px)
            flat = flat + correction
            spread = (spread.square() + uncertainty.square()).sqrt()
        return centred(flat, valid[:, :1]), spread

    def _bins(self, height: int, width: int) -> list[int]:
        most = -(-max(height, width) // self.side_px)
        return [most, 1] if most > 1 else [1]

    def _estimate(self, channels: Tensor, valid: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Log flat field and spread (B, 1, H, W) of conditions (B, 6, H, W) and valid pixels."""
        if self.variant.regression:
            samples = regress(self.network, channels)[:, None]
        else:
            samples = self._samples(channels, generator)
        flats = centred(reference(channels)[:, None] + SCALE * samples, valid[:, None])
        spread = flats.std(dim=1) if flats.shape[1] > 1 else torch.zeros_like(flats[:, 0])
        return flats.mean(dim=1), spread

    def _samples(self, channels: Tensor, generator: torch.Generator) -> Tensor:
        """Samples (B, D, 1, H, W)."""
        sampling, (rows, _, *size) = self.sampling, channels.shape
        samples = self._samples_per_set
        x = torch.randn(rows, samples, 1, *size, generator=generator, device=channels.device).flatten(0, 1)
        repeated = channels.repeat_interleave(samples, dim=0)
        if self.variant.rescaled_to_mean:
            times, eta = times_of_the_recipe(RECIPE_STEPS), 1.0
        else:
            times, eta = times_from_noise(sampling.steps), 0.0

        def network(noisy: Tensor, time: Tensor) -> Tensor:
            parts = zip(*(t.split(sampling.batch_size) for t in (noisy, repeated, time)), strict=True)
            return torch.cat([self.network(torch.cat([images, conds], dim=1), t) for images, conds, t in parts])

        return sample(network, x, times, self.variant.prediction_type, eta, generator).unflatten(0, (rows, samples))

    def _recipe(self, logs: Tensor, valid: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The recipe: one sample from the intensities of a pair, rescaled to the mean 0.7, as a logarithm."""
        light = torch.where(valid[:, :2], logs[:, :2].exp(), 0)
        intensity = (self._samples(published_conditions(light), generator)[:, 0] + 1) / 2
        intensity = intensity * _RECIPE_MEAN / intensity.mean(dim=(-2, -1), keepdim=True).clamp(min=_DARKEST)
        return intensity.clamp(min=_DARKEST).log(), torch.zeros_like(intensity)


def binned(logs: Tensor, valid: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Means of logs (B, N, H, W) over the valid pixels of bins × bins blocks, and which blocks have a valid pixel.

    The sides of the result are rounded up.
    """
    if bins == 1:
        return logs, valid
    sides = [-(-size // bins) * bins - size for size in logs.shape[-2:]]
    padding = (0, sides[1], 0, sides[0])
    share = functional.avg_pool2d(functional.pad(valid.to(logs.dtype), padding), bins)
    total = functional.avg_pool2d(functional.pad(logs * valid, padding), bins)
    return total / share.clamp(min=1e-6), share > 0


def spread_out(images: Tensor, bins: int, height: int, width: int) -> Tensor:
    """Binned images (B, C, h, w) interpolated to all pixels (B, C, height, width)."""
    scaled = functional.interpolate(images, scale_factor=bins, mode="bicubic", align_corners=False)
    return scaled[..., :height, :width]


def smooth(images: Tensor, window_px: int) -> Tensor:
    """The part of images (B, 1, H, W) that varies over more than a window: blurred by a Gaussian, σ = window / 4."""
    sigma = window_px / 4
    radius = int(3 * sigma)
    for axis in (-1, -2):
        size = images.shape[axis]
        place = torch.arange(-radius, size + radius, device=images.device) % (2 * size)
        images = images.index_select(axis, torch.minimum(place, 2 * size - 1 - place))
        offset = torch.arange(-radius, radius + 1, device=images.device)
        kernel = torch.softmax(-0.5 * (offset / sigma).square(), dim=0)
        images = functional.conv2d(images, kernel.view((1, 1, 1, -1) if axis == -1 else (1, 1, -1, 1)))
    return images
