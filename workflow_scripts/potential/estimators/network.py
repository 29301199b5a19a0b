"""A trained network, of any arm of the study, as an estimator of the potential."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from workflow_scripts.learning.precision import Precision
from workflow_scripts.potential.networks.encoding import scenes_of
from workflow_scripts.potential.networks.model import infer, load_network
from workflow_scripts.potential.settings import ABLATIONS, ARMS, Variant
from workflow_scripts.potential.settings import InferenceSettings as Options
from workflow_scripts.potential.simulation.estimation import Estimator
from workflow_scripts.potential.simulation.samples import MATCHED, RING, Samples
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError


@dataclass(frozen=True)
class TrainedNetwork:
    """A network whose output is converted to V Å; see `estimation.Estimate`.

    Attributes:
        network: in evaluation mode, on `device`.
        variant: determines the encoding of images and potentials, as in its training.
        dose_max_e_per_a2: the largest dose given to it; larger ones, also of images without noise, are clipped to it.
        device, precision: on what it runs, and in which number format.
        batch_size: images at once.
    """

    network: nn.Module
    variant: Variant
    dose_max_e_per_a2: float
    device: torch.device
    precision: Precision
    batch_size: int

    def __call__(self, samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        """Potential float32 (N, H, W), V Å."""
        dose_e_per_a2 = min(dose_e_per_a2, self.dose_max_e_per_a2)
        potentials = []
        for start in range(0, len(samples), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(samples)))
            batch = replace(samples.rows(rows), images={detector: shares[rows]})
            scenes = scenes_of(batch, detector, dose_e_per_a2, self.device)
            output = infer(self.network, scenes, self.variant, self.precision)
            potentials.append(output[:, 0].cpu().numpy())  # the first channel: all frequencies
        return np.concatenate(potentials)


def make(job: Job) -> Estimator:
    """The network of an arm after each of its training stages.

    Networks with a single fault predict only from counted images of the recipe's ring.

    Raises:
        InputError: there is no such arm, or the weights of one of its stages are missing.
    """
    arguments = job.arguments
    options: Options = arguments.options
    if arguments.estimator not in ARMS:
        raise InputError(f"--estimator is {arguments.estimator!r}, but must be one of {', '.join(ARMS)}")
    variant, is_ablation = ARMS[arguments.estimator], arguments.estimator in ABLATIONS
    stages = ("pretrained",) if is_ablation or variant.without_finetune else ("pretrained", "finetuned")
    job.require(*stages)
    device = torch.device(job.device)
    dose_max = max(arguments.dose_e_per_a2)
    settings = variant, dose_max, device, arguments.precision, options.batch_size
    return Estimator(
        {stage: TrainedNetwork(load_network(job.input(stage)).to(device), *settings) for stage in stages},
        detectors=(RING,) if is_ablation or variant.one_detector else (RING, MATCHED),
        without_noise=not is_ablation,
        shuffled_metadata=not is_ablation,
    )
