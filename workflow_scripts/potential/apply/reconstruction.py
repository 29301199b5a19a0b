"""The projected potential behind the user's segmented images, and checks of its quality that need no truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts.learning.precision import Precision
from workflow_scripts.potential.apply.data import UserImages
from workflow_scripts.potential.apply.tiles import estimate_image
from workflow_scripts.potential.networks.encoding import make_scenes
from workflow_scripts.potential.networks.model import infer
from workflow_scripts.potential.settings import VARIANTS
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, Microscope, Samples
from workflow_scripts.workflow.errors import InputError

_MRAD_PER_DEG = 1e3 * np.pi / 180


@dataclass(frozen=True)
class TrainingRange:
    """The range of the network's training images.

    side_px: of the images, on pixels of the microscope's pixel_size_a.
    ranges: smallest and largest of each quantity, by its name with its unit.
    """

    microscope: Microscope
    side_px: int
    ranges: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, samples: Samples, detector: str, dose_e_per_a2: tuple[float, float]) -> "TrainingRange":
        """From training samples; the crystals that fill the field of view are what the corrected arm trains on.

        Raises:
            InputError: there are none.
        """
        filled = samples.rows(samples.kind == FILLED)
        if not len(filled):
            raise InputError(
                "the training file holds no crystals that fill the field of view; raise potential.synthesize.views"
            )
        quantities = _quantities(
            filled.images[detector], filled.potential, filled.thickness_nm, filled.rotation_deg, dose_e_per_a2
        )
        ranges = {name: (float(values.min()), float(values.max())) for name, values in quantities.items()}
        return cls(filled.microscope, filled.potential.shape[-1], ranges)


def reconstruct(
    images: UserImages,
    network: nn.Module,
    training: TrainingRange,
    device: torch.device,
    precision: Precision,
    batch_size: int,
) -> np.ndarray:
    """Potential and potential band-limited at 2α/λ of every image, float32 (N, 2, H, W), V Å, on the user's pixels.

    Args:
        images: the user's.
        network: of the corrected arm, in evaluation mode; it is moved to `device`.
        training: pixel size, detectors and image size of its training.
        device, precision: on what it runs.
        batch_size: tiles at once.
    """
    network.to(device)

    def estimate(row: int, tiles: Tensor) -> Tensor:
        def repeated(value: float | np.ndarray) -> Tensor:
            value = torch.as_tensor(value, dtype=torch.float32, device=device)
            return value.expand(len(tiles), *value.shape)

        scenes = make_scenes(
            tiles.to(device),
            repeated(images.thickness_nm[row]),
            repeated(images.rotation_deg[row]),
            repeated(images.detector == MATCHED).bool(),
            repeated(images.dose_e_per_a2),
            training.microscope,
        )
        return infer(network, scenes, VARIANTS["corrected"], precision).cpu()

    pixels_a = images.pixel_size_a, training.microscope.pixel_size_a
    return np.stack(
        [
            estimate_image(shares, *pixels_a, partial(estimate, row), training.side_px, batch_size)
            for row, shares in enumerate(images.shares)
        ]
    )


def quality(images: UserImages, potential: np.ndarray, training: TrainingRange) -> dict[str, Any]:
    """Quantities of the images and of the potential (N, H, W), V Å, and which of them lie outside the training range.

    No truth is used, so a potential within the training range may still be wrong.
    """
    doses = [images.dose_e_per_a2] * len(potential)
    quantities = _quantities(images.shares, potential, images.thickness_nm, images.rotation_deg, doses)
    outside = []
    for name, values in quantities.items():
        low, high = training.ranges[name]
        # The last digit of a thickness that was read from a file may be rounded
        rounding = 1e-6 * max(abs(low), abs(high))
        beyond = values[(values < low - rounding) | (values > high + rounding)]
        if len(beyond):
            outside.append(
                f"{name}: {beyond[0]:.4g} lies outside of {low:.4g} to {high:.4g}, the range of the network's training"
            )
    return {
        "mean_potential_volt_angstrom": potential.mean(axis=(1, 2), dtype=np.float64).tolist(),
        **{name: values.tolist() for name, values in quantities.items()},
        "training_range": {name: list(limits) for name, limits in training.ranges.items()},
        "outside_training": outside,
    }


def _quantities(
    shares: np.ndarray,
    potential: np.ndarray,
    thickness_nm: np.ndarray,
    rotation_deg: np.ndarray,
    dose_e_per_a2: Sequence[float],
) -> dict[str, np.ndarray]:
    """The quantities of images (N, 4, H, W) and potentials (N, H, W), V Å, that are compared with the training."""
    return {
        "thickness_nm": thickness_nm,
        "tilt_mrad": np.hypot(rotation_deg[:, 1], rotation_deg[:, 2]) * _MRAD_PER_DEG,
        "share_of_beam": shares.sum(axis=1, dtype=np.float64).mean(axis=(1, 2)),
        "mean_inner_potential_v": potential.mean(axis=(1, 2), dtype=np.float64) / (10 * thickness_nm),
        "dose_e_per_a2": np.array(dose_e_per_a2),
    }
