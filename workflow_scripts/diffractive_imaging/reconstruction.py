"""From counts to patches to an image, in either arm: what prediction and finetuning share."""

from pathlib import Path

import torch
from torch import Tensor, nn

from workflow_scripts.diffractive_imaging import forward
from workflow_scripts.diffractive_imaging.datasets import Illumination
from workflow_scripts.diffractive_imaging.model import DenseNetwork, ResidualUnet, make_network
from workflow_scripts.diffractive_imaging.settings import NetworkSettings
from workflow_scripts.diffractive_imaging.stitching import Stitched, damped_average, least_squares
from workflow_scripts.diffractive_imaging.variants import Variant
from workflow_scripts.learning.devices import Precision, autocast
from workflow_scripts.learning.weights import load_weights, read_metadata
from workflow_scripts.workflow.settings import check


def load_network(path: Path) -> ResidualUnet | DenseNetwork:
    """The network of a weights file, which says its own architecture.

    Raises:
        InputError: the file is broken, or its tensors are not those of its architecture.
    """
    about = read_metadata(path)
    network = make_network(int(about["n"]), check(NetworkSettings, about["network"], str(path)), seed=0)
    load_weights(network, path)
    return network.eval()


def oriented(counts: Tensor, transposed: bool, variant: Variant) -> Tensor:
    """Patterns (…, n, n) with the axes of the object; the published recipe takes them as they were recorded."""
    return counts if variant.axes_exchanged or not transposed else counts.transpose(-2, -1)


@torch.no_grad()
def estimate_patches(
    network: nn.Module,
    counts: Tensor,
    dose_e: float,
    light: Illumination,
    variant: Variant,
    device: torch.device,
    precision: Precision,
    batch_size: int,
) -> Tensor:
    """The network's patches, float32 (N, n, n) rad on the CPU: zero outside the mask, mean-free inside.

    Args:
        network: in evaluation mode; it is moved to `device`.
        counts: (N, n, n), already `oriented`.
        dose_e: electrons per pattern; the published input does not use it.
    """
    network.to(device)
    mask = light.mask().to(device)
    dose = None if variant.noise_drawn_once else dose_e
    patches = []
    for part in counts.float().split(batch_size):
        seen = forward.network_input(part.to(device), dose)
        with autocast(device, precision):
            predicted = network(seen)
        patches.append(forward.remove_mask_mean(predicted.float(), mask).cpu())
    return torch.cat(patches)


def stitch(patches: Tensor, positions_px: Tensor, light: Illumination, variant: Variant, seed: int) -> Stitched:
    """One image from patches (N, n, n) at positions (N, 2) [y, x] in object pixels.

    The published recipe exchanges the axes of the scan and stores its image with x first; the image returned
    here always has y first.
    """
    positions = positions_px.flip(-1) if variant.axes_exchanged else positions_px
    mask = light.mask()
    if variant.damped_stitching:
        generator = torch.Generator().manual_seed(seed)
        stitched = damped_average(patches, positions, mask, upsampling=light.upsampling, generator=generator)
    else:
        stitched = least_squares(patches, positions, light.patch_weights(), upsampling=light.upsampling)
    return stitched.transposed() if variant.axes_exchanged else stitched
