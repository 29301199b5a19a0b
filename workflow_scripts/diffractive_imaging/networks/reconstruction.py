"""From counts to patches by a trained network, in either arm."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from workflow_scripts.diffractive_imaging.networks.imaging import EstimatePatches
from workflow_scripts.diffractive_imaging.networks.model import DenseNetwork, ResidualUnet, make_network
from workflow_scripts.diffractive_imaging.settings import NetworkSettings, Variant
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination
from workflow_scripts.learning.precision import MixedPrecision, Precision
from workflow_scripts.learning.weights import load_weights, read_metadata
from workflow_scripts.workflow.settings import Compute, check


def load_network(path: Path) -> ResidualUnet | DenseNetwork:
    """The network of a weights file; the file's metadata hold its architecture.

    Raises:
        InputError: the file is broken or of another method, or its tensors do not match its architecture.
    """
    metadata = read_metadata(path, "diffractive_imaging", keys=("network", "n"))
    network = make_network(int(metadata["n"]), check(NetworkSettings, metadata["network"], str(path)), seed=0)
    load_weights(network, path)
    return network.eval()


def load_estimate(
    path: Path, light: Illumination, variant: Variant, device: torch.device, compute: Compute, batch_size: int
) -> EstimatePatches:
    """`estimate_patches` by the network of a weights file, with the precision of `compute`.

    Raises:
        InputError: as for `load_network`.
    """
    return partial(estimate_patches, load_network(path), light, variant, device, compute.precision, batch_size)


@torch.no_grad()
def estimate_patches(
    network: nn.Module,
    light: Illumination,
    variant: Variant,
    device: torch.device,
    precision: Precision,
    batch_size: int,
    counts: Tensor,
    dose_e: float,
) -> Tensor:
    """The network's patches, float32 (N, n, n) rad on the CPU: zero outside the mask, mean-free inside.

    Args:
        network: in evaluation mode; it is moved to `device`.
        counts: (N, n, n), already `imaging.oriented`.
        dose_e: electrons per pattern; the published input does not use it.
    """
    network = MixedPrecision(network.to(device), device, precision)
    mask = light.mask().to(device)
    dose = None if variant.noise_drawn_once else dose_e
    patches = []
    for part in counts.float().split(batch_size):
        patterns = forward.network_input(part.to(device), dose)
        patches.append(forward.remove_mask_mean(network(patterns), mask).cpu())
    return torch.cat(patches)
