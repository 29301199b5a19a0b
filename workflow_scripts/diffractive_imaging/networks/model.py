"""The networks of the method: from a diffraction pattern to the patch of phase under the probe."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.diffractive_imaging.settings import NetworkSettings
from workflow_scripts.workflow.errors import InputError


class ResidualBlock(nn.Module):
    """Pre-activation residual block (doi:10.1007/978-3-319-46493-0_38).

    GroupNorm instead of the recipe's BatchNorm: the loss is the same however a batch is spread over GPUs.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        """Args: channels in, channels out, stride of the first convolution."""
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(_groups(outputs), outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        y = self.conv1(functional.relu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(functional.relu(self.norm2(y)))


class ResidualUnet(nn.Module):
    """The recipe's U-net with concatenating skips, for the scales that have a GPU.

    The recipe is widths (16, 32, 64, 128, 256) and dropout 0.2 (doi:10.1103/PhysRevLett.130.016101).
    """

    def __init__(self, n: int, widths: tuple[int, ...], dropout: float) -> None:
        """A network with random weights.

        Args:
            n: pixels along each side of a pattern and a patch.
            widths: channels at full resolution and after each halving.
            dropout: probability of dropping a channel at the bottom and after each merge.

        Raises:
            InputError: ``n`` cannot be halved often enough.
        """
        super().__init__()
        if n % 2 ** (len(widths) - 1):
            raise InputError(
                f"pretrain.network.unet.widths: {n} px cannot be halved {len(widths) - 1} times: use fewer widths"
            )
        self.stem = nn.Conv2d(1, widths[0], 3, padding=1)
        self.first = ResidualBlock(widths[0], widths[0])
        self.down = nn.ModuleList(ResidualBlock(wide, wider, stride=2) for wide, wider in pairwise(widths))
        self.up = nn.ModuleList(ResidualBlock(wider + wide, wide) for wider, wide in pairwise(widths[::-1]))
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, pattern: Tensor) -> Tensor:
        """Network input (B, n, n), see ``forward.network_input``, → patches (B, n, n) in rad."""
        x = self.first(self.stem(pattern[:, None]))  # (B, widths[0], n, n)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        x = self.dropout(x)  # (B, widths[-1], n / 2^depth, n / 2^depth)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self.dropout(block(torch.cat([x, skip], dim=1)))
        return self.head(x)[:, 0]  # (B, n, n)


class DenseNetwork(nn.Module):
    """The reduced network: principal components of the pattern, then dense residual layers.

    A pattern and its patch are related by a Fourier transform, so neighbouring pixels of the one do not
    correspond to neighbouring pixels of the other; without a GPU dense layers learn several times more
    than convolutions in the same time.
    """

    def __init__(self, n: int, components: int, width: int, blocks: int) -> None:
        """A network that predicts zero until :meth:`warm_start`.

        Args:
            n: pixels along each side of a pattern and a patch.
            components: principal components that are kept of a pattern.
            width: units of each hidden layer.
            blocks: residual layers between the first and the last.
        """
        super().__init__()
        self.register_buffer("mean", torch.zeros(n * n))
        self.project = nn.Linear(n * n, components, bias=False)
        self.linear = nn.Linear(components, n * n)
        self.enter = nn.Linear(components, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, n * n, bias=False)
        for parameter in (self.linear.weight, self.linear.bias, self.leave.weight):
            nn.init.zeros_(parameter)

    @torch.no_grad()
    def warm_start(self, patterns: Tensor, patches: Tensor) -> None:
        """Sets projection and linear path in closed form: whitened principal components, least squares.

        Args:
            patterns: network inputs (N, n, n), N above ``components``.
            patches: targets (N, n, n).

        Raises:
            InputError: there are too few patterns.
        """
        components = self.project.out_features
        if len(patterns) <= components:
            raise InputError(
                f"pretrain.network.dense.components: {components} components need more than {len(patterns)} patterns;"
                " lower it, or synthesize more"
            )
        x, y = patterns.flatten(1).double(), patches.flatten(1).double()
        mean = x.mean(dim=0)
        variances, axes = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        # Components that are mostly noise are not amplified to the variance of the others.
        scale = variances[-components:].clamp(min=1e-4 * variances.sum()).sqrt()
        projection = (axes[:, -components:] / scale).T  # (components, n²)
        z = (x - mean) @ projection.T
        gram = z.T @ z + 1e-3 * len(x) * torch.eye(components, dtype=z.dtype, device=z.device)
        weight = torch.linalg.solve(gram, z.T @ (y - y.mean(dim=0)))
        self.mean.copy_(mean)
        self.project.weight.copy_(projection)
        self.linear.weight.copy_(weight.T)
        self.linear.bias.copy_(y.mean(dim=0))

    def forward(self, pattern: Tensor) -> Tensor:
        """Network input (B, n, n), see ``forward.network_input``, → patches (B, n, n) in rad."""
        z = self.project(pattern.flatten(1) - self.mean)  # (B, components)
        hidden = functional.gelu(self.enter(z))  # (B, width)
        for block in self.blocks:
            hidden = hidden + functional.gelu(block(hidden))
        return (self.linear(z) + self.leave(hidden)).view_as(pattern)


def make_network(n: int, settings: NetworkSettings, seed: int) -> ResidualUnet | DenseNetwork:
    """A network with random weights that follow from the seed.

    Raises:
        InputError: the settings do not fit patterns of n × n pixels.
    """
    torch.manual_seed(seed)
    if settings.kind == "dense":
        return DenseNetwork(n, settings.dense.components, settings.dense.width, settings.dense.blocks)
    return ResidualUnet(n, settings.unet.widths, settings.unet.dropout)


def _groups(channels: int) -> int:
    """Number of groups for GroupNorm: eight channels each if eight divides them, else a single group."""
    return channels // 8 if channels % 8 == 0 else 1
