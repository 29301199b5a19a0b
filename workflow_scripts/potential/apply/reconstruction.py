"""The projected potential behind the user's segmented images, and what can be said about it without a truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts.learning.devices import Precision, autocast
from workflow_scripts.potential.apply.data import OwnImages
from workflow_scripts.potential.apply.tiles import estimate_image
from workflow_scripts.potential.networks.encoding import decode_potential, make_scenes, network_inputs
from workflow_scripts.potential.networks.variants import VARIANTS
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, Microscope, Samples
from workflow_scripts.workflow.errors import InputError

_MRAD_PER_DEG = 1e3 * np.pi / 180


@dataclass(frozen=True)
class Seen:
    """What the network's training images were like.

    side_px: of the images, on pixels of the microscope's pixel_size_a.
    ranges: smallest and largest of each quantity, by its name with its unit.
    """

    microscope: Microscope
    side_px: int
    ranges: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, samples: Samples, detector: str, dose_e_per_a2: tuple[float, float]) -> "Seen":
        """From training samples; the crystals that fill the field of view are what the corrected arm trains on.

        Raises:
            InputError: there are none.
        """
        filled = samples.rows(samples.kind == FILLED)
        if not len(filled):
            raise InputError(
                "the training file holds no crystals that fill the field of view; raise potential.synthesize.views"
            )
        share = filled.images[detector].sum(axis=1, dtype=np.float64).mean(axis=(1, 2))
        inner = _mean_inner_potential_v(filled.potential, filled.thickness_nm)
        quantities = {
            "thickness_nm": filled.thickness_nm,
            "tilt_mrad": _tilt_mrad(filled.rotation_deg),
            "share_of_beam": share,
            "mean_inner_potential_v": inner,
            "dose_e_per_a2": np.array(dose_e_per_a2),
        }
        ranges = {name: (float(values.min()), float(values.max())) for name, values in quantities.items()}
        return cls(filled.microscope, filled.potential.shape[-1], ranges)


@torch.no_grad()
def reconstruct(
    own: OwnImages, network: nn.Module, seen: Seen, device: torch.device, precision: Precision, batch_size: int
) -> np.ndarray:
    """Potential and potential band-limited at 2α/λ of every image, float32 (N, 2, H, W), V Å, on the user's pixels.

    Args:
        own: the images.
        network: of the corrected arm, in evaluation mode; it is moved to `device`.
        seen: what it was trained for.
        device, precision: on what it runs.
        batch_size: tiles at once.
    """
    network.to(device)
    variant = VARIANTS["corrected"]
    potentials = []
    for shares, thickness_nm, rotation_deg in zip(own.shares, own.thickness_nm, own.rotation_deg, strict=True):

        def estimate(
            tiles: Tensor, thickness_nm: float = thickness_nm, rotation_deg: np.ndarray = rotation_deg
        ) -> Tensor:
            def of_each(value: float) -> Tensor:
                return torch.full((len(tiles),), value, dtype=torch.float32, device=device)

            scenes = make_scenes(
                tiles.to(device),
                of_each(float(thickness_nm)),
                torch.as_tensor(rotation_deg, dtype=torch.float32, device=device).expand(len(tiles), 3),
                torch.full((len(tiles),), own.detector == MATCHED, device=device),
                of_each(own.dose_e_per_a2),
                seen.microscope,
            )
            with autocast(device, precision):
                output = network(network_inputs(scenes, variant))
            return decode_potential(output.float(), scenes.thickness_nm, variant).cpu()

        potentials.append(
            estimate_image(shares, own.pixel_size_a, seen.microscope.pixel_size_a, estimate, seen.side_px, batch_size)
        )
    return np.stack(potentials)


def quality(own: OwnImages, potential: np.ndarray, seen: Seen) -> dict[str, Any]:
    """What the images and the potential (N, H, W), V Å, are like, and where that lies outside of the training.

    Nothing of a truth is in it: inside the range of the training does not mean right.
    """
    share = own.shares.sum(axis=1, dtype=np.float64).mean(axis=(1, 2))
    quantities = {
        "thickness_nm": own.thickness_nm,
        "tilt_mrad": _tilt_mrad(own.rotation_deg),
        "share_of_beam": share,
        "mean_inner_potential_v": _mean_inner_potential_v(potential, own.thickness_nm),
        "dose_e_per_a2": np.full(len(share), own.dose_e_per_a2),
    }
    outside = []
    for name, values in quantities.items():
        low, high = seen.ranges[name]
        # Labels such as a thickness come back from a file with the last digit rounded
        room = 1e-6 * max(abs(low), abs(high))
        beyond = values[(values < low - room) | (values > high + room)]
        if len(beyond):
            outside.append(
                f"{name}: {beyond[0]:.4g} lies outside of {low:.4g} to {high:.4g}, what the network was trained with"
            )
    return {
        "mean_potential_volt_angstrom": potential.mean(axis=(1, 2), dtype=np.float64).tolist(),
        **{name: values.tolist() for name, values in quantities.items()},
        "training_range": {name: list(limits) for name, limits in seen.ranges.items()},
        "outside_training": outside,
    }


def _tilt_mrad(rotation_deg: np.ndarray) -> np.ndarray:
    return np.hypot(rotation_deg[:, 1], rotation_deg[:, 2]) * _MRAD_PER_DEG


def _mean_inner_potential_v(potential: np.ndarray, thickness_nm: np.ndarray) -> np.ndarray:
    """The mean of (N, H, W) in V Å over the thickness (N,) in Å."""
    return potential.mean(axis=(1, 2), dtype=np.float64) / (10 * thickness_nm)
