"""Where the networks of both arms join the estimators."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from workflow_scripts.alignment.estimators import Estimator
from workflow_scripts.alignment.labels import FINETUNED
from workflow_scripts.alignment.losses import error_near_wraps_deg
from workflow_scripts.alignment.model import CorrelationNetwork, RecipeNetwork, load_network, recipe_spectra
from workflow_scripts.alignment.polar_alignment import joint, pairwise
from workflow_scripts.alignment.tasks import features_of, turned_with_noise
from workflow_scripts.alignment.variants import VARIANTS


def network_estimator(weights: Path, stage: str, batch_size: int, rounds: int, device: torch.device) -> Estimator:
    """One stage of one arm; the weights say which arm, network and settings they belong to.

    Args:
        weights: of the stage pretrain or finetune.
        stage: pretrained (pairs alone) or finetuned (pairs, and all images jointly).
        batch_size: images, or pairs, that go through the network at once.
        rounds: largest number of rounds of averaging and aligning.
        device: on what it runs.

    Raises:
        InputError: the file holds no weights of alignment.
    """
    network, arm = load_network(weights)
    network.to(device)
    jointly, variant = stage == FINETUNED, VARIANTS[arm]
    if isinstance(network, RecipeNetwork):
        # The recipe leaves batch normalisation in its training mode: an answer depends on its batch
        network.train(variant.batch_statistics)
        return RecipeEstimator(network, batch_size, jointly, not variant.branch_unresolved)
    return CorrelationEstimator(network, batch_size, rounds, jointly, not variant.branch_unresolved)


@dataclass(frozen=True)
class CorrelationEstimator:
    """Correlation of learned features along the angle; see `estimators.Estimator`.

    rounds: of averaging and aligning, at most; jointly: whether it aligns all images together.
    """

    network: CorrelationNetwork
    batch_size: int
    rounds: int
    jointly: bool
    resolves: bool

    def pair_deg(self, images: Tensor) -> Tensor:
        """See `Estimator`."""
        features = features_of(self.network, images, self.batch_size)
        return pairwise(features[:-1], features[1:])

    def joint_deg(self, images: Tensor) -> Tensor | None:
        """See `Estimator`."""
        if not self.jointly:
            return None
        return joint(features_of(self.network, images, self.batch_size), self.rounds)[0]


@dataclass(frozen=True)
class RecipeEstimator:
    """The published network's angles, jointly against the first image; see `estimators.Estimator`."""

    network: RecipeNetwork
    batch_size: int
    jointly: bool
    resolves: bool

    def pair_deg(self, images: Tensor) -> Tensor:
        """See `Estimator`."""
        spectra = recipe_spectra(images, self.network.side_px)
        return self._angles(spectra[:-1], spectra[1:])

    def joint_deg(self, images: Tensor) -> Tensor | None:
        """See `Estimator`."""
        if not self.jointly:
            return None
        spectra = recipe_spectra(images, self.network.side_px)
        return self._angles(spectra, spectra[:1].expand_as(spectra))

    def own_loss_deg(self, images: Tensor, pair_deg: Tensor) -> float:
        """What the recipe's loss says of its answers to (i, i + 1): turned by known angles, noise and all, degrees."""
        generator = torch.Generator(images.device).manual_seed(0)
        turn_deg = 360 * torch.rand(len(images), generator=generator, device=images.device)
        turned = recipe_spectra(turned_with_noise(images, turn_deg), self.network.side_px)
        moved = self._angles(turned[:-1], turned[1:]) - pair_deg
        return float(error_near_wraps_deg(moved, torch.remainder(turn_deg[:-1] - turn_deg[1:], 180)).mean())

    def _angles(self, first: Tensor, second: Tensor) -> Tensor:
        parts = zip(first.split(self.batch_size), second.split(self.batch_size), strict=True)
        return torch.cat([self.network(*part) for part in parts])
