"""Who answers: the two classical baselines, and the networks of both arms by the same small interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.branch import Poses, align_stack, class_average
from workflow_scripts.alignment.labels import JOINT, PAIRWISE
from workflow_scripts.alignment.polar_alignment import amplitude_spectra, joint, pairwise


class Estimator(Protocol):
    """One stage of one estimator. It sees images and nothing else.

    resolves: whether branch and shift are found; if not, the angle stays in [0°, 180°) and every shift is zero.
    """

    resolves: bool

    def pair_deg(self, images: Tensor) -> Tensor | None:
        """angle(i) − angle(i + 1) mod 180, (N − 1,) degrees, of images (N, n, n); None where it has none."""

    def joint_deg(self, images: Tensor) -> Tensor | None:
        """Angles (N,) mod 180 up to one offset, degrees, found from all images together; None where it has none."""


@runtime_checkable
class JudgesItself(Protocol):
    """An estimator that was trained by a loss which needs no truth."""

    def own_loss_deg(self, images: Tensor, pair_deg: Tensor) -> float:
        """What that loss says of its answers pair_deg (N − 1,) to images (N, n, n), degrees."""


@dataclass(frozen=True)
class PolarPairwise:
    """Circular correlation of two amplitude spectra along the angle."""

    resolves: bool = True

    def pair_deg(self, images: Tensor) -> Tensor:
        """See `Estimator`."""
        spectra = amplitude_spectra(images)
        return pairwise(spectra[:-1], spectra[1:])

    def joint_deg(self, images: Tensor) -> None:
        """See `Estimator`: pairs alone agree on no reference."""
        return


@dataclass(frozen=True)
class PolarJoint:
    """The same against the average of all others, again and again."""

    rounds: int
    resolves: bool = True

    def pair_deg(self, images: Tensor) -> None:
        """See `Estimator`: it compares no pairs."""
        return

    def joint_deg(self, images: Tensor) -> Tensor:
        """See `Estimator`."""
        return joint(amplitude_spectra(images), self.rounds)[0]


def baseline(name: str, rounds: int) -> tuple[str, Estimator]:
    """The one stage of a baseline and who answers.

    Args:
        name: polar_pairwise or polar_joint.
        rounds: largest number of rounds of averaging and aligning.

    Raises:
        ValueError: there is no such baseline.
    """
    if name == "polar_pairwise":
        return PAIRWISE, PolarPairwise()
    if name == "polar_joint":
        return JOINT, PolarJoint(rounds)
    raise ValueError(f"there is no baseline {name!r}")


def answers(estimator: Estimator, images: Tensor) -> dict[str, np.ndarray]:
    """Everything that an estimator says of one stack.

    Its halves, the images of even and of odd number, are aligned apart as well: an average cannot vouch for itself.

    Args:
        images: float32 (N, n, n), N ≥ 4.

    Returns:
        pair_deg (N − 1,) where it compares pairs; own_loss_deg () where it has a loss without truth; where it aligns
        jointly angle_deg (N,) in [0, 360) ([0, 180) where the branch stays unresolved), shift_px (N, 2), score (N,),
        average (n, n), and half_angle_deg (N,) and half_shift_px (N, 2), the poses of each image within its own half.
    """
    found: dict[str, Tensor] = {}
    pairs = estimator.pair_deg(images)
    if pairs is not None:
        found["pair_deg"] = torch.remainder(pairs, 180)
    if isinstance(estimator, JudgesItself):
        found["own_loss_deg"] = torch.tensor(estimator.own_loss_deg(images, pairs))
    aligned = _aligned(estimator, images)
    if aligned is not None:
        poses, average = aligned
        found |= {"angle_deg": poses.angle_deg, "shift_px": poses.shift_px, "score": poses.score, "average": average}
        for name in ("half_angle_deg", "half_shift_px"):
            found[name] = torch.empty_like(found[name.removeprefix("half_")])
        for half in (slice(0, None, 2), slice(1, None, 2)):
            apart, _ = _aligned(estimator, images[half])
            found["half_angle_deg"][half], found["half_shift_px"][half] = apart.angle_deg, apart.shift_px
    return {name: value.cpu().numpy().astype(np.float32) for name, value in found.items()}


def _aligned(estimator: Estimator, images: Tensor) -> tuple[Poses, Tensor] | None:
    """Poses and average of a stack from the joint angles; None where the estimator has none."""
    angle_deg = estimator.joint_deg(images)
    if angle_deg is None:
        return None
    if estimator.resolves:
        return align_stack(images, angle_deg)
    poses = Poses(torch.remainder(angle_deg, 180), torch.zeros(len(images), 2).to(images), torch.zeros_like(angle_deg))
    return poses, class_average(images, poses)


def arrays(stage: str, stack: str, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers of one stage to one stack as `predictions.npz` names them: stage/stack/what."""
    return {f"{stage}/{stack}/{name}": value for name, value in found.items()}
