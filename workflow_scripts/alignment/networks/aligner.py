"""The predictions of an estimator for one stack: relative angles of pairs, and full poses from its joint angles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.networks.branch import Poses, align_stack


@dataclass(frozen=True)
class Aligner:
    """One stage of an estimator, as returned by the function `make` of its module; its only input is images.

    Attributes:
        pair_deg: function from images (N, n, n) to angle(i) − angle(i + 1) mod 180, (N − 1,) degrees; None if the
            estimator does not compare pairs.
        joint_deg: function from images (N, n, n) to their angles (N,) mod 180 up to a common offset, degrees; None if
            the estimator does not align stacks jointly.
        own_loss_deg: function from images (N, n, n) and the predictions of pair_deg (N − 1,) to the label-free loss
            with which the estimator was trained, degrees; None if it has no such loss.
        resolves_branch: whether branch and shift are estimated; if not, angles stay in [0°, 180°) and shifts are zero.
    """

    pair_deg: Callable[[Tensor], Tensor] | None = None
    joint_deg: Callable[[Tensor], Tensor] | None = None
    own_loss_deg: Callable[[Tensor, Tensor], float] | None = None
    resolves_branch: bool = True

    def predict(self, images: Tensor, transfer: Tensor | None = None) -> dict[str, np.ndarray]:
        """All predictions for one stack.

        The half stacks (even and odd image numbers) are aligned independently as well: the agreement of their
        averages validates the alignment.

        Args:
            images: float32 (N, n, n), N ≥ 4.
            transfer: (N, n, n//2 + 1), contrast transfer, which these estimators do not use.

        Returns:
            float32 arrays: pair_deg (N − 1,) in [0, 180) if it compares pairs; own_loss_deg () if it has such a loss;
            if it aligns jointly angle_deg (N,) in [0, 360), shift_px (N, 2), and half_angle_deg (N,) and
            half_shift_px (N, 2), the poses of each image within its own half stack.
        """
        arrays: dict[str, Tensor] = {}
        if self.pair_deg:
            pair_deg = self.pair_deg(images)
            arrays["pair_deg"] = torch.remainder(pair_deg, 180)
            if self.own_loss_deg:
                arrays["own_loss_deg"] = torch.tensor(self.own_loss_deg(images, pair_deg))
        if self.joint_deg:
            poses = self._poses(images)
            half_angle_deg, half_shift_px = torch.empty_like(poses.angle_deg), torch.empty_like(poses.shift_px)
            for half in (slice(0, None, 2), slice(1, None, 2)):
                half_poses = self._poses(images[half])
                half_angle_deg[half], half_shift_px[half] = half_poses.angle_deg, half_poses.shift_px
            arrays |= {"angle_deg": poses.angle_deg, "shift_px": poses.shift_px}
            arrays |= {"half_angle_deg": half_angle_deg, "half_shift_px": half_shift_px}
        return {name: array.cpu().numpy().astype(np.float32) for name, array in arrays.items()}

    def _poses(self, images: Tensor) -> Poses:
        angle_deg = self.joint_deg(images)
        if self.resolves_branch:
            return align_stack(images, angle_deg)[0]
        no_shift = torch.zeros(len(images), 2).to(images)
        return Poses(torch.remainder(angle_deg, 180), no_shift, torch.zeros_like(angle_deg))
