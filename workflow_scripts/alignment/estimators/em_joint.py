"""All images against their average over every angle and shift: expectation maximisation with one class."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.networks.matching import observe
from workflow_scripts.alignment.networks.maximum_likelihood import align_to_average
from workflow_scripts.alignment.settings import PredictEmJoint as Options
from workflow_scripts.alignment.simulation.labels import FITTED
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError

FEWEST = 8  # four in each half


def make(job: Job, device: torch.device) -> dict[str, "EmAligner"]:
    """The aligner of the only stage; it aligns jointly."""
    return {FITTED: EmAligner(job.arguments.options)}


@dataclass(frozen=True)
class EmAligner:
    """Full poses of stacks; it needs the contrast transfer of every image."""

    options: Options

    def predict(self, images: Tensor, transfer: Tensor) -> dict[str, np.ndarray]:
        """Poses of the whole stack and of its halves, aligned independently.

        The average of the half with the larger evidence is the first reference of the whole stack.

        Args:
            images: (N, n, n), N ≥ 8.
            transfer: (N, n, n//2 + 1).

        Returns:
            float32 arrays as of `aligner.Aligner.predict`.

        Raises:
            InputError: there are fewer than 8 images.
        """
        if len(images) < FEWEST:
            raise InputError(
                f"Expectation maximisation needs {FEWEST} images of a particle, but there are {len(images)}."
            )
        halves = [slice(first, None, 2) for first in (0, 1)]
        aligned = [align_to_average(observe(images[half], transfer[half]), None, self.options) for half in halves]
        better = max(aligned, key=lambda alignment: alignment.evidence)
        whole = align_to_average(observe(images, transfer), better, self.options)
        half_angle_deg, half_shift_px = torch.empty_like(whole.angle_deg), torch.empty_like(whole.shift_px)
        for half, alignment in zip(halves, aligned, strict=True):
            half_angle_deg[half], half_shift_px[half] = alignment.angle_deg, alignment.shift_px
        arrays = {"angle_deg": whole.angle_deg, "shift_px": whole.shift_px}
        arrays |= {"half_angle_deg": half_angle_deg, "half_shift_px": half_shift_px}
        return {name: array.cpu().numpy().astype(np.float32) for name, array in arrays.items()}
