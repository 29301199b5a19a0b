"""Between the microscope and the network: images and metadata to input channels, potential to targets and back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workflow_scripts.optics.noise import poisson_counts
from workflow_scripts.potential.settings import Variant
from workflow_scripts.potential.simulation.samples import MATCHED, RING, Microscope, Samples

RECIPE_RANGE_V_A = 600_000.0  # the recipe's target is a share of this
POTENTIAL_PER_NM = 200.0  # V Å per nm of thickness, about the mean of the crystals
_SMALLEST_RANGE = 1e-8  # of min-max: an image of zeros stays zero


@dataclass(frozen=True)
class Scenes:
    """Segmented images of B specimens with their metadata; tensors on one device.

    Attributes:
        images: float32 (B, 4, H, W), share of the incident electrons on each segment.
        thickness_nm: float32 (B,).
        rotation_deg: float32 (B, 3) [rz, rx, ry] as in the files of samples.
        matched: bool (B,), whether the detector is the matched one, not the recipe's ring.
        ring: float32 (B, 2), inner and outer angle of the detector as shares of the convergence semiangle.
        dose_e_per_a2: float32 (B,), of the incident electrons.
    """

    images: Tensor
    thickness_nm: Tensor
    rotation_deg: Tensor
    matched: Tensor
    ring: Tensor
    dose_e_per_a2: Tensor

    def counted(self, pixel_size_a: float, generator: torch.Generator) -> "Scenes":
        """The same with shot noise: electrons are counted in every pixel and converted back to shares.

        Args:
            pixel_size_a: side of a pixel of the scan, Å.
            generator: the only source of randomness, on the device of the images.
        """
        dose_e = (self.dose_e_per_a2 * pixel_size_a**2)[:, None, None, None]  # electrons per position of the probe
        # Rounding can bring a Fourier series below zero
        return replace(self, images=poisson_counts(self.images.clamp(min=0), dose_e, generator) / dose_e)

    def rotated(self, times: Tensor) -> "Scenes":
        """Every scene rotated by quarter turns from +y to +x, scan and crystal together.

        A rotation by 90° is exact on the raster: it moves pixels, renames the segments and rotates the tilts.

        Args:
            times: int64 (B,), from 0 to 3.
        """
        return replace(
            self,
            # The segments are quarters of a ring: each gets the name of the next one
            images=rotate_rows(self.images, times, lambda x: torch.rot90(x, 1, (-2, -1)).roll(1, 1)),
            rotation_deg=rotate_rows(self.rotation_deg, times, _rotate_crystal),
        )


def _rotate_crystal(rotation_deg: Tensor) -> Tensor:
    """[rz, rx, ry] after a quarter turn: the tilt (y, x) becomes (-x, y)."""
    rz, rx, ry = rotation_deg.unbind(dim=1)
    return torch.stack([rz + 90, -ry, rx], dim=1)


def rotate_rows(x: Tensor, times: Tensor, rotate: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Rows of x after 0 to 3 quarter turns each.

    Args:
        x: (B, …), square in the last two axes where `rotate` is left out.
        times: int64 (B,), from 0 to 3.
        rotate: a quarter turn of all rows; left out, it moves the pixels from +y to +x.
    """
    rotate = rotate or (lambda rows: torch.rot90(rows, 1, (-2, -1)))
    result, rotated = x, x
    for count in (1, 2, 3):
        rotated = rotate(rotated)
        result = torch.where((times == count).view(-1, *[1] * (x.ndim - 1)), rotated, result)
    return result


def scenes_of(samples: Samples, detector: str, dose_e_per_a2: float, device: torch.device) -> Scenes:
    """The scenes of samples without noise; `Scenes.counted` draws the counts at their dose.

    Args:
        samples: N of them.
        detector: `ring` or `matched`.
        dose_e_per_a2: of all.
        device: of the tensors.
    """
    arrays = samples.images[detector], samples.thickness_nm, samples.rotation_deg
    matched = torch.full((len(samples),), detector == MATCHED, device=device)
    dose = torch.full((len(samples),), dose_e_per_a2, dtype=torch.float32, device=device)
    tensors = (torch.as_tensor(array, dtype=torch.float32, device=device) for array in arrays)
    return make_scenes(*tensors, matched, dose, samples.microscope)


def make_scenes(
    images: Tensor,
    thickness_nm: Tensor,
    rotation_deg: Tensor,
    matched: Tensor,
    dose_e_per_a2: Tensor,
    microscope: Microscope,
) -> Scenes:
    """Scenes whose rows each come from one of the microscope's two detectors; shapes as in `Scenes`."""
    both = zip(microscope.ring_mrad[MATCHED], microscope.ring_mrad[RING], strict=True)  # inner angles, then outer
    ring = torch.stack([torch.where(matched, *angles) for angles in both], dim=1) / microscope.semiangle_mrad
    return Scenes(images, thickness_nm, rotation_deg, matched, ring, dose_e_per_a2)


def network_inputs(scenes: Scenes, variant: Variant) -> Tensor:
    """The channels of the network: four images, then metadata that are constant over each image.

    The recipe stretches the four images of a sample to [0, 1] together and takes thickness / 100 nm and sine and
    cosine of the three angles. Corrected: the share of the incident electrons on a fixed scale, thickness / 40 nm, sine
    and cosine of the rotation about the beam, tilts / 5 mrad, the detector's angles, and log10 of the dose where
    electrons are counted.

    Returns:
        float32 (B, input_channels(variant), H, W).
    """
    images = scenes.images
    if variant.float16_inputs:
        images = images.half().float()
    if variant.joint_minmax:
        low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
        images = (images - low) / (high - low + _SMALLEST_RANGE)
    else:
        # So that each detector's images have about zero mean and unit range over the crystals
        matched = scenes.matched[:, None, None, None]
        images = torch.where(matched, 5 * images - 1.1, 6 * images - 0.8)
    metadata = _metadata(scenes, variant)  # (B, M)
    return torch.cat([images, metadata[:, :, None, None].expand(-1, -1, *images.shape[-2:])], dim=1)


def _metadata(scenes: Scenes, variant: Variant) -> Tensor:
    angle = torch.deg2rad(scenes.rotation_deg)  # (B, 3)
    if variant.one_detector:
        return torch.cat([scenes.thickness_nm[:, None] / 100, angle.sin(), angle.cos()], dim=1)
    tilt_mrad = 1e3 * angle[:, 1:]
    columns = [scenes.thickness_nm[:, None] / 40, angle[:, :1].sin(), angle[:, :1].cos(), tilt_mrad / 5, scenes.ring]
    if not variant.noise_not_counted:
        columns.append(scenes.dose_e_per_a2.log10()[:, None] - 4.5)
    return torch.cat(columns, dim=1)


def input_channels(variant: Variant) -> int:
    """Channels of `network_inputs`."""
    recipe = 4 + 1 + 6
    return recipe if variant.one_detector or variant.noise_not_counted else recipe + 1


def output_channels(variant: Variant) -> int:
    """Output channels of the network: the potential, and with the corrected loss also its band-limited part."""
    return 1 if variant.loss_blind_to_position else 2


def encode_potential(potential: Tensor, thickness_nm: Tensor, variant: Variant) -> Tensor:
    """Projected potential in V Å to the target of the network.

    Args:
        potential: (B, …).
        thickness_nm: (B,).
    """
    return potential / _unit(potential, thickness_nm, variant)


def decode_potential(output: Tensor, thickness_nm: Tensor, variant: Variant) -> Tensor:
    """Outputs of the network (B, …) to V Å, the inverse of `encode_potential`."""
    return output * _unit(output, thickness_nm, variant)


def _unit(like: Tensor, thickness_nm: Tensor, variant: Variant) -> Tensor | float:
    if variant.fixed_target_scale:
        return RECIPE_RANGE_V_A
    return POTENTIAL_PER_NM * thickness_nm.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
