"""The networks of both arms: pairwise after pretraining, pairwise and jointly after finetuning."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from workflow_scripts.alignment.networks.aligner import Aligner
from workflow_scripts.alignment.networks.losses import error_near_wraps_deg
from workflow_scripts.alignment.networks.model import CorrelationNetwork, RecipeNetwork, load_network, recipe_spectra
from workflow_scripts.alignment.networks.polar_alignment import joint, pairwise
from workflow_scripts.alignment.networks.tasks import features_of, rotated_with_noise
from workflow_scripts.alignment.settings import VARIANTS
from workflow_scripts.alignment.settings import PredictNetwork as Options
from workflow_scripts.alignment.simulation.labels import FINETUNED, STAGES
from workflow_scripts.workflow.command import Job


def make(job: Job, device: torch.device) -> dict[str, Aligner]:
    """The aligner of each stage; raises InputError if the weights of a stage are missing."""
    job.require(*STAGES)
    return {stage: aligner(job.input(stage), stage, job.arguments.options, device) for stage in STAGES}


def aligner(weights: Path, stage: str, options: Options, device: torch.device) -> Aligner:
    """The aligner of one stage of one arm; metadata of the weights give the arm, the network and its settings.

    Args:
        weights: of the stage pretrain or finetune.
        stage: pretrained (aligns pairs only) or finetuned (aligns pairs, and all images jointly).
        options: how the network is applied.
        device: where it runs.

    Raises:
        InputError: these are not weights of alignment.
    """
    network, arm = load_network(weights)
    network.to(device)
    variant = VARIANTS[arm]
    if isinstance(network, RecipeNetwork):
        # The recipe leaves batch normalisation in training mode, so that a prediction depends on its batch
        network.train(variant.batch_statistics)
        angles = RecipeAngles(network, options.batch_size)
    else:
        angles = CorrelationAngles(network, options.batch_size, options.rounds)
    joint_deg = angles.joint_deg if stage == FINETUNED else None
    return Aligner(angles.pair_deg, joint_deg, angles.own_loss_deg, not variant.branch_unresolved)


@dataclass(frozen=True)
class CorrelationAngles:
    """Angles by correlation of learned features; its methods become the functions of an `aligner.Aligner`.

    Attributes:
        network: of the corrected arm.
        batch_size: images per forward pass.
        rounds: largest number of rounds of averaging and aligning.
    """

    own_loss_deg = None

    network: CorrelationNetwork
    batch_size: int
    rounds: int

    def pair_deg(self, images: Tensor) -> Tensor:
        """Relative angles (N − 1,) of consecutive images (N, n, n)."""
        features = features_of(self.network, images, self.batch_size)
        return pairwise(features[:-1], features[1:])

    def joint_deg(self, images: Tensor) -> Tensor:
        """Angles (N,) of all images (N, n, n) against their average."""
        return joint(features_of(self.network, images, self.batch_size), self.rounds)[0]


@dataclass(frozen=True)
class RecipeAngles:
    """Angles regressed by the published network; its methods become the functions of an `aligner.Aligner`.

    Attributes:
        network: of the published arm.
        batch_size: pairs per forward pass.
    """

    network: RecipeNetwork
    batch_size: int

    def pair_deg(self, images: Tensor) -> Tensor:
        """Relative angles (N − 1,) of consecutive images (N, n, n)."""
        spectra = recipe_spectra(images, self.network.side_px)
        return self._angles(spectra[:-1], spectra[1:])

    def joint_deg(self, images: Tensor) -> Tensor:
        """Angles (N,) of all images (N, n, n) against the first."""
        spectra = recipe_spectra(images, self.network.side_px)
        return self._angles(spectra, spectra[:1].expand_as(spectra))

    def own_loss_deg(self, images: Tensor, pair_deg: Tensor) -> float:
        """The recipe's loss: predictions for images (N, n, n) rotated with their noise by known angles, compared with
        the predictions pair_deg (N − 1,) for the images themselves."""
        generator = torch.Generator(images.device).manual_seed(0)
        rotation_deg = 360 * torch.rand(len(images), generator=generator, device=images.device)
        rotated_spectra = recipe_spectra(rotated_with_noise(images, rotation_deg), self.network.side_px)
        difference_deg = self._angles(rotated_spectra[:-1], rotated_spectra[1:]) - pair_deg
        known_deg = torch.remainder(rotation_deg[:-1] - rotation_deg[1:], 180)
        return float(error_near_wraps_deg(difference_deg, known_deg).mean())

    def _angles(self, first: Tensor, second: Tensor) -> Tensor:
        batches = zip(first.split(self.batch_size), second.split(self.batch_size), strict=True)
        return torch.cat([self.network(*batch) for batch in batches])
