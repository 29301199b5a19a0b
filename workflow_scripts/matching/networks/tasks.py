"""Training tasks: views of a pattern without labels, then pairs of observed and calculated patterns.

Counts are drawn from the expected shares at every step, so that the noise never repeats. The views of the corrected arm
differ in dose, camera length and centre, not in the in-plane angle: the network has to find that angle, and a joint
rotation of both views would not change what an equivariant network computes. Published: one dose, and two views that
are rotated, flipped, cropped, blurred and jittered independently.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.matching.networks.encoding import blurred, normalised
from workflow_scripts.matching.networks.losses import angular_contrast, contrast, cosine_embedding, wasserstein
from workflow_scripts.matching.networks.model import correlations
from workflow_scripts.matching.settings import LossSettings, Variant
from workflow_scripts.matching.simulation.pairs import Pairs

_CAMERA_LENGTH, _CENTRE_PX = 0.02, 0.3  # deviation of a view from the recorded pattern
_CELLS = 200  # cells of beam directions; a cell is entirely in training or in validation
_VALIDATION_BATCH = 128  # their correlations with the queue are 1.2 GB at the scale `gpu`

Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Augmentation:
    """Doses of the training patterns; stored in the metadata of the weights under `lesson`, for the finetuning.

    Attributes:
        dose_min_e, dose_max_e: range of the electrons in the spots, uniform on a logarithmic scale.
        recipe_dose_e: the single dose where the variant has one.
        background_share: electrons of the background for each in the spots.
    """

    dose_min_e: float
    dose_max_e: float
    recipe_dose_e: float
    background_share: float


class Observer:
    """Observed patterns of pairs, rendered with fresh counts at every step, on the device of the pairs.

    Args:
        pairs: what the patterns are rendered from.
        variant: `one_dose` takes the recipe's dose and leaves out the experiment's distortions: background and spots
            of the file stay as they are, and views do not differ in camera length and centre.
        augmentation: doses.
        validation_pairs: approximate number of pairs for validation, see `split_by_cells`.
    """

    def __init__(self, pairs: Pairs, variant: Variant, augmentation: Augmentation, validation_pairs: int) -> None:
        self._pairs, self.variant, self._augmentation, self.device = pairs, variant, augmentation, pairs.rotation.device
        split = split_by_cells(pairs.rotation.cpu(), validation_pairs)
        self.training_rows, self.validation_rows = (rows.to(self.device) for rows in split)

    def pairs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Calculated patterns and expected observed shares, background included, of pairs (B,): (B, n, n) each."""
        calculated, expected = self._pairs.render(rows)
        return calculated, expected.spots + self._augmentation.background_share * expected.background

    def counts(self, shares: Tensor, generator: torch.Generator, distorted: bool = False) -> Tensor:
        """Counts (B, n, n) of expected shares; `distorted`: camera length and centre differ from the recorded ones."""
        share = torch.rand(len(shares), generator=generator, device=self.device)
        low, high = self._augmentation.dose_min_e, self._augmentation.dose_max_e
        if self.variant.one_dose:
            low = high = self._augmentation.recipe_dose_e
        dose = low * (high / low) ** share
        expected = dose[:, None, None] * shares
        if distorted and not self.variant.one_dose:
            expected = _distorted(expected, generator)
        return torch.poisson(expected, generator=generator)


class PretrainTask:
    """Views of single patterns, for `momentum.MomentumContrast`; see `learning.training.Task`.

    Args:
        observer: the training files.
        extra: counts (N, n, n) of further observed patterns: those of the test in the published arm, or none.
        encode: from patterns to the network's input.
        patterns: number of patterns in an epoch.
    """

    def __init__(self, observer: Observer, extra: Tensor, encode: Encode, patterns: int) -> None:
        self.n_samples = patterns
        self._observer, self._extra, self._encode = observer, extra, encode

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two encoded views of randomly drawn patterns: (B, …) each; of `indices` only the number counts."""
        return self._draw(self._observer.training_rows, len(indices), generator, self._extra)

    def _draw(self, rows: Tensor, count: int, generator: torch.Generator, extra: Tensor) -> tuple[Tensor, Tensor]:
        variant = self._observer.variant
        # Half of the files' patterns are observed and half calculated, as in the recipe
        total = 2 * len(rows) + len(extra)
        drawn = torch.randint(total, (count,), generator=generator, device=rows.device)
        row = rows[drawn % len(rows)]
        is_calculated = ((drawn >= len(rows)) & (drawn < 2 * len(rows)))[:, None, None]
        is_extra = drawn >= 2 * len(rows)
        calculated, shares = self._observer.pairs(row)
        views = []
        for _ in range(2):
            view = self._observer.counts(shares, generator, distorted=True)
            # Calculated patterns have as many electrons and no noise, like the gallery
            view = torch.where(is_calculated, calculated * view.sum(dim=(1, 2), keepdim=True), view)
            if len(extra):
                view = torch.where(is_extra[:, None, None], extra[(drawn - 2 * len(rows)).clamp_min(0)], view)
            if variant.rotated_apart:
                view = _published_view(view, generator)
            views.append(self._encode(normalised(view) if variant.normalised_in_pretraining_only else view))
        return views[0], views[1]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Contrast of each pattern's views against the queue."""
        return model(*batch)

    def validate(self, model: nn.Module) -> float:
        """The loss of the validation patterns, with the same random draws every time."""
        rows = self._observer.validation_rows
        generator = torch.Generator(rows.device).manual_seed(0)
        return _mean_over_batches(rows, lambda part: model(*self._draw(rows, len(part), generator, self._extra[:0])))


class FinetuneTask:
    """Pairs of an observed and a calculated pattern of one orientation; see `learning.training.Task`.

    Args:
        observer: the training files.
        loss: terms in addition to the contrast.
        encode: from patterns to the network's input.
        pairs: number of pairs in an epoch.
    """

    def __init__(self, observer: Observer, loss: LossSettings, encode: Encode, pairs: int) -> None:
        self.n_samples = pairs
        self._observer, self._settings, self._encode = observer, loss, encode

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Encoded observed and calculated patterns (B, …), and a seed for every row (B,)."""
        rows = self._observer.training_rows
        drawn = torch.randint(len(rows), (len(indices),), generator=generator, device=rows.device)
        return self._pairs(rows[drawn], generator)

    def _pairs(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        calculated, shares = self._observer.pairs(rows)
        observed = self._encode(self._observer.counts(shares, generator))
        seeds = torch.randint(2**31, (len(rows),), generator=generator, device=rows.device)
        return observed, self._encode(calculated), seeds

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Contrast of the features, and at one stage of the network the cosine and the Wasserstein term."""
        observed, calculated, seeds = batch
        features, stages, expected, expected_stages, sharpness = model(observed, calculated)
        if features.ndim == 3:
            total = angular_contrast(sharpness * correlations(features, expected)).mean()
        else:
            total = contrast(sharpness * (features @ expected.T)).mean()
        settings, variant = self._settings, self._observer.variant
        stage = min(settings.stage, len(stages) - 1)
        if settings.cosine_weight > 0:
            total = total + settings.cosine_weight * cosine_embedding(stages[stage], expected_stages[stage]).mean()
        if settings.wasserstein != "none" and settings.wasserstein_weight > 0:
            sets = (features, expected) if variant.stage_ignored else (stages[stage], expected_stages[stage])
            directions = torch.Generator(seeds.device).manual_seed(int(seeds[0]))
            paired = variant.max_sliced_paired
            distance = wasserstein(settings.wasserstein, *sets, settings.projections, directions, paired)
            total = total + settings.wasserstein_weight * distance
        return total

    def validate(self, model: nn.Module) -> float:
        """The loss of the validation pairs, with the same counts every time."""
        rows = self._observer.validation_rows
        generator = torch.Generator(rows.device).manual_seed(0)
        return _mean_over_batches(rows, lambda part: self.loss(model, self._pairs(part, generator)))


def _mean_over_batches(rows: Tensor, loss: Callable[[Tensor], Tensor]) -> float:
    """The mean loss of rows (N,), batch by batch: the correlations of a pattern with all others need much memory."""
    return sum(len(part) / len(rows) * float(loss(part)) for part in rows.split(_VALIDATION_BATCH))


def split_by_cells(rotation: Tensor, validation: int) -> tuple[Tensor, Tensor]:
    """Training rows, and about `validation` rows (at most a third) for validation, split by cells of beam directions.

    Directions are reduced by the symmetry of a cube, so that equivalent ones are in the same part.

    Args: rotation: (P, 3, 3).
    """
    folded = rotation[:, 2].abs().sort(dim=1).values
    centres = functional.normalize(torch.rand(_CELLS, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    cell = (folded.float() @ centres.sort(dim=1).values.T).argmax(dim=1)
    size = torch.bincount(cell, minlength=_CELLS)
    limit = min(validation, len(rotation) // 3)
    is_validation = (size.cumsum(0) - size < limit)[cell]
    return (~is_validation).nonzero()[:, 0], is_validation.nonzero()[:, 0][:limit]


def _warped(patterns: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Patterns (B, n, n) read at matrix (B, 2, 2) times the place from the centre plus offset (B, 2), px [x, y]."""
    n = patterns.shape[-1]
    axis = torch.arange(n, device=patterns.device, dtype=patterns.dtype) - (n - 1) / 2
    place = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)  # (n, n, 2) x before y
    read = torch.einsum("bij,yxj->byxi", matrix, place) + offset[:, None, None]
    return functional.grid_sample(patterns[:, None], 2 * read / (n - 1), align_corners=True)[:, 0]


def _distorted(expected: Tensor, generator: torch.Generator) -> Tensor:
    """Expected patterns with another camera length and centre."""
    rows, device = len(expected), expected.device
    scale = 1 + _CAMERA_LENGTH * (2 * torch.rand(rows, generator=generator, device=device) - 1)
    offset = _CENTRE_PX * torch.randn(rows, 2, generator=generator, device=device)
    return _warped(expected, scale[:, None, None] * torch.eye(2, device=device), offset).clamp_min(0)


def _published_view(patterns: Tensor, generator: torch.Generator) -> Tensor:
    """A view of the recipe: rotated, flipped, cropped, blurred and jittered at random."""
    rows, device = len(patterns), patterns.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(rows, generator=generator, device=device)

    angle, zoom = uniform(0, 2 * math.pi), uniform(0.7, 1.0)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    c, s = zoom * angle.cos(), zoom * angle.sin()
    matrix = torch.stack([flip * c, -s, flip * s, c], dim=1).view(-1, 2, 2)
    reach = (1 - zoom)[:, None] * patterns.shape[-1] / 4
    offset = reach * torch.stack([uniform(-1, 1), uniform(-1, 1)], dim=1)
    view = _warped(patterns, matrix, offset)
    view = torch.where((uniform(0, 1) < 0.5)[:, None, None], blurred(view, 1.0), view)
    noise = torch.randn(view.shape, generator=generator, device=device)
    spread = view.flatten(1).std(dim=1)[:, None, None]
    return view * uniform(0.6, 1.4)[:, None, None] + 0.05 * spread * noise
