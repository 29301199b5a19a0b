"""The networks: segmented images and metadata to projected potential."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.learning.precision import MixedPrecision, Precision
from workflow_scripts.learning.weights import load_weights, read_metadata
from workflow_scripts.potential.networks.encoding import Scenes, decode_potential, network_inputs
from workflow_scripts.potential.settings import NetworkSettings, Variant
from workflow_scripts.workflow.settings import check


class Unet(nn.Module):
    """A U-net (doi:10.1007/978-3-319-24574-4_28) that treats every position alike.

    Convolutions mirror the image at its edges, so that constant channels stay constant and the output does not depend
    on the distance from an edge.
    """

    def __init__(self, n_in: int, n_out: int, widths: tuple[int, ...]) -> None:
        """Args: channels in, channels out, channels at full resolution and after each halving (multiples of 8)."""
        super().__init__()
        self.widths = widths
        self.down = nn.ModuleList(_block(before, width) for before, width in pairwise((n_in, *widths)))
        self.up = nn.ModuleList(_block(below + width, width) for below, width in pairwise(widths[::-1]))
        self.head = nn.Conv2d(widths[0], n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) → (B, n_out, H, W).

        Raises:
            ValueError: the image cannot be halved as often as there are widths after the first.
        """
        factor = 2 ** (len(self.widths) - 1)
        if x.shape[-2] % factor or x.shape[-1] % factor:
            raise ValueError(f"{tuple(x.shape[-2:])} pixels cannot be halved {len(self.widths) - 1} times")
        x = x.contiguous(memory_format=torch.channels_last)  # a quarter faster
        skips = []
        for depth, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if depth else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips.pop()], dim=1))
        return self.head(x)


def _block(n_in: int, n_out: int) -> nn.Sequential:
    # Groups of at least two channels: a group of one would normalise away what is constant over the image, the metadata
    groups = min(8, n_out // 2)
    layers: list[nn.Module] = []
    for before in (n_in, n_out):
        convolution = nn.Conv2d(before, n_out, 3, padding=1, padding_mode="reflect")
        layers += [convolution, nn.GroupNorm(groups, n_out), nn.SiLU()]
    return nn.Sequential(*layers)


def make_network(settings: NetworkSettings, n_in: int, n_out: int, seed: int) -> nn.Module:
    """A network with random weights that follow from the seed.

    `swin_unetr` is MONAI's SwinUNETR (doi:10.1007/978-3-031-08999-2_22) in two dimensions; the sides of its images are
    multiples of 32, 64 pixels or more.

    Args:
        settings: which network, and its size.
        n_in: channels of the input.
        n_out: channels of the output.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    if settings.kind == "unet":
        return Unet(n_in, n_out, settings.unet.widths).to(memory_format=torch.channels_last)
    from monai.networks.nets import SwinUNETR  # here, since its import takes seconds

    return SwinUNETR(n_in, n_out, feature_size=settings.swin_unetr.feature_size, spatial_dims=2)


def describe_network(settings: NetworkSettings, n_in: int, n_out: int) -> dict:
    """What `load_network` reads from the metadata of the weights."""
    return {"network": settings.model_dump(mode="json"), "n_in": n_in, "n_out": n_out}


def load_network(path: Path) -> nn.Module:
    """The network of a weights file of the stages pretrain or finetune, in evaluation mode on the CPU.

    Raises:
        InputError: the file is missing or damaged, or not of this method.
    """
    metadata = read_metadata(path, "potential", keys=("network", "n_in", "n_out"))
    settings = check(NetworkSettings, metadata["network"], f"{path}: network")
    network = make_network(settings, metadata["n_in"], metadata["n_out"], seed=0)
    load_weights(network, path)
    return network.eval()


@torch.no_grad()
def infer(network: nn.Module, scenes: Scenes, variant: Variant, precision: Precision) -> Tensor:
    """The outputs of a network for scenes on its device, float32 (B, output channels, H, W), V Å."""
    output = MixedPrecision(network, scenes.images.device, precision)(network_inputs(scenes, variant))
    return decode_potential(output, scenes.thickness_nm, variant)
