"""The networks: from a noisy log flat field, the conditions and the diffusion time to the noise or the velocity."""

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.background.settings import NetworkSettings
from workflow_scripts.learning.weights import load_weights, read, read_metadata
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check

_WAVES = 32
_MONAI_MULTIPLIERS = 1, 2, 2, 4, 4


class Unet(nn.Module):
    """A lean U-net on blocks of pixels; the time scales and shifts its features (FiLM, doi:10.1609/aaai.v32i1.11671).

    It takes images of any size; convolutions use reflection padding.
    """

    def __init__(self, n_in: int, block_px: int, widths: tuple[int, ...]) -> None:
        """Args: channels in; side of the blocks, px; channels at the blocks' resolution and after each halving."""
        super().__init__()
        self.block_px, self.widths = block_px, widths
        wide = 2 * _WAVES
        self.time = nn.Sequential(nn.Linear(2 * _WAVES, wide), nn.SiLU(), nn.Linear(wide, wide), nn.SiLU())
        self.down = nn.ModuleList(_Block(*pair, wide) for pair in pairwise((n_in * block_px**2, *widths)))
        self.up = nn.ModuleList(_Block(below + width, width, wide) for below, width in pairwise(widths[::-1]))
        self.head = nn.Conv2d(widths[0], block_px**2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """(B, n_in, H, W), times (B,) → (B, 1, H, W)."""
        height, width = x.shape[-2:]
        # At least two pixels remain at the coarsest level, as reflection padding needs
        x = pad_to_multiple(x, self.block_px * 2 ** (len(self.widths) - 1), least=2)
        x = functional.pixel_unshuffle(x, self.block_px).contiguous(memory_format=torch.channels_last)
        features = self.time(_waves(times))
        skips = []
        for depth, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if depth else x, features)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, skips.pop()], dim=1), features)
        return functional.pixel_shuffle(self.head(x), self.block_px)[..., :height, :width]


class _Block(nn.Module):
    def __init__(self, n_in: int, n_out: int, n_time: int) -> None:
        super().__init__()
        groups = n_out // 8
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, padding_mode="reflect")
        self.norms = nn.ModuleList(nn.GroupNorm(groups, n_out) for _ in range(2))
        self.film = nn.Linear(n_time, 2 * n_out)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        scale, shift = self.film(features)[..., None, None].chunk(2, dim=1)
        x = self.first(x)
        inner = functional.silu(self.norms[0](x) * (1 + scale) + shift)
        return x + functional.silu(self.norms[1](self.second(inner)))


class MonaiUnet(nn.Module):
    """MONAI's DiffusionModelUNet with the recipe's layout; images may have any size."""

    def __init__(self, n_in: int, base: int) -> None:
        """Args: channels in; channels at full resolution."""
        super().__init__()
        from monai.networks.nets import DiffusionModelUNet  # here, since its import takes seconds

        levels = len(_MONAI_MULTIPLIERS)
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=n_in,
            out_channels=1,
            channels=[base * number for number in _MONAI_MULTIPLIERS],
            attention_levels=[level == levels - 1 for level in range(levels)],
            num_res_blocks=2,
            num_head_channels=base,
            norm_num_groups=32,
        )
        self._multiple = 2 ** (levels - 1)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """(B, n_in, H, W), times (B,) → (B, 1, H, W)."""
        height, width = x.shape[-2:]
        return self.unet(pad_to_multiple(x, self._multiple), times)[..., :height, :width]


def pad_to_multiple(images: Tensor, multiple: int, least: int = 1) -> Tensor:
    """The images (B, C, H, W), padded at the bottom and on the right by reflection to a multiple of `multiple` pixels.

    least: smallest size after padding, in units of `multiple`.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        place = torch.arange(max(least, -(-size // multiple)) * multiple, device=images.device)
        if len(place) > size:
            period = max(1, 2 * (size - 1))
            place = place % period
            images = images.index_select(axis, torch.minimum(place, period - place).clamp(max=size - 1))
    return images


def _waves(times: Tensor) -> Tensor:
    frequencies = torch.exp(-math.log(1e4) * torch.arange(_WAVES, device=times.device) / _WAVES)
    phase = times[:, None].float() * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def make_network(settings: NetworkSettings, n_in: int, seed: int) -> nn.Module:
    """A network with random weights determined by the seed.

    Args:
        settings: which network, and its size.
        n_in: channels of the input: the noisy image and the conditions.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    if settings.kind == "unet":
        return Unet(n_in, settings.unet.block_px, settings.unet.widths).to(memory_format=torch.channels_last)
    return MonaiUnet(n_in, settings.monai.base)


def describe_network(settings: NetworkSettings, n_in: int, arm: str, side_px: int, largest_set: int) -> dict:
    """Metadata of the weights, used for loading, finetuning and by the estimators."""
    network = settings.model_dump(mode="json")
    return {"network": network, "n_in": n_in, "arm": arm, "side_px": side_px, "largest_set": largest_set}


def load_network(path: Path, arm: str, loosely: bool = False) -> tuple[nn.Module, dict]:
    """The network of a weights file, in evaluation mode on the CPU, and the metadata of the file.

    Args:
        path: the file.
        arm: the arm of which the weights must be.
        loosely: load as the recipe does: with a prefix before every name, so that none matches, and without a check.

    Raises:
        InputError: the file is missing or damaged, of another method or arm, or its keys are not those of the network.
    """
    about = read_metadata(path, "background", keys=("network", "n_in", "arm", "side_px", "largest_set"))
    if about["arm"] != arm:
        raise InputError(f"{path}: these weights are of the arm {about['arm']}, not {arm}; give those of {arm}")
    network = make_network(check(NetworkSettings, about["network"], f"{path}: network"), about["n_in"], seed=0)
    if loosely:
        tensors, _ = read(path)
        network.load_state_dict({f"module.{name}": tensor for name, tensor in tensors.items()}, strict=False)
    else:
        load_weights(network, path)
    return network.eval(), about
