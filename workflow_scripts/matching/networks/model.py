"""The networks of both arms: patterns to features whose similarity measures how well two patterns match.

Corrected: a polar pattern becomes features along the angle by convolutions that wrap around, with the rings as their
channels, so that rotating the pattern shifts its features. Two patterns are compared by the circular correlation of
their features: its maximum is the similarity, the position of the maximum the in-plane angle. An untrained network
compares the polar patterns themselves, as the template matcher does. Published: a convolutional network embeds the
Cartesian pattern in one vector, compared by the cosine.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.learning.precision import full_precision
from workflow_scripts.learning.weights import load_weights, read_metadata
from workflow_scripts.matching.networks.encoding import polar_patterns, stabilised
from workflow_scripts.matching.settings import ARMS, NetworkSettings, Variant
from workflow_scripts.workflow.settings import check

_KERNEL = 5  # samples along the angle
_SHARPNESS = 14.0  # initial scale of the similarities in the contrast: 1 / 0.07 as in CLIP, arXiv:2103.00020


class Encoder(nn.Module):
    """Patterns to features or an embedding of norm 1; subclasses define `with_stages`."""

    def encode(self, patterns: Tensor) -> Tensor:
        """The network's input for patterns (N, n, n): the patterns themselves."""
        return patterns

    def forward(self, encoded: Tensor) -> Tensor:
        """The features of encoded patterns (N, …), of norm 1."""
        return self.with_stages(encoded)[0]


class AngularNetwork(Encoder):
    """Features along the angle of a pattern; `correlations` compares two."""

    def __init__(self, rings: int, angles: int, width: int, layers: int) -> None:
        """Args: rings and angles of the polar pattern, channels of each layer, layers."""
        super().__init__()
        self.rings, self.angles = rings, angles
        self.ring_weight = nn.Parameter(torch.ones(rings, 1))
        widths = [2 * rings + 1] + [width] * layers
        self.convolutions = nn.ModuleList(nn.Conv1d(before, after, _KERNEL) for before, after in pairwise(widths))
        self.head = nn.Conv1d(width, rings, 1)
        # Before training the polar patterns themselves are compared
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def encode(self, patterns: Tensor) -> Tensor:
        """Polar patterns (N, R, angles) of patterns (N, n, n), counts or shares, in the same unit."""
        return polar_patterns(patterns, self.rings, self.angles)

    def with_stages(self, polar: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (N, R, A) of polar patterns (N, R, A), and of every layer its mean over the angle (N, width)."""
        scaled = stabilised(polar)
        centred = scaled - scaled.mean(dim=-1, keepdim=True)
        # The number of electrons tells the network how noisy a pattern is
        total = polar.sum(dim=(1, 2)).add(1e-3).log10()[:, None, None].expand(-1, 1, self.angles)
        hidden = torch.cat([scaled, centred, 0.2 * total], dim=1)  # (N, 2R + 1, A)
        stages = []
        for number, convolution in enumerate(self.convolutions):
            padded = functional.pad(hidden, (_KERNEL // 2, _KERNEL // 2), mode="circular")
            activated = functional.silu(convolution(padded))
            hidden = activated if number == 0 else hidden + activated
            stages.append(hidden.mean(dim=-1))
        features = centred * self.ring_weight + self.head(hidden)
        return features / features.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None], stages


def correlations(first: Tensor, second: Tensor) -> Tensor:
    """Circular correlation along the angle of every first with every second, summed over the channels.

    Args:
        first: (Q, C, A).
        second: (G, C, A).

    Returns:
        (Q, G, A): at index d the sum of first(θ + d) second(θ), the similarity after rotating second by d samples from
        +x to +y. For features of norm 1 it lies in [−1, 1].
    """
    return correlations_of_spectra(spectra(first), spectra(second), first.shape[-1])


def spectra(features: Tensor) -> Tensor:
    """Features (N, C, A) along the angle as `correlations_of_spectra` takes them: (A // 2 + 1, N, C) complex."""
    return torch.fft.rfft(features).permute(2, 0, 1).contiguous()


def correlations_of_spectra(first: Tensor, second: Tensor, angles: int) -> Tensor:
    """`correlations` of `spectra` (F, Q, C) and (F, G, C): (Q, G, angles)."""
    return torch.fft.irfft(torch.bmm(first, second.mH).permute(1, 2, 0), n=angles)


class RecipeNetwork(Encoder):
    """The published arm's small network: stages of 3 × 3 convolutions, each of half the resolution, to one vector."""

    def __init__(self, widths: tuple[int, ...], embedding: int) -> None:
        """Args: channels of each stage; length of the embedding."""
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in pairwise((1, *widths))
        )
        self.head = nn.Linear(widths[-1], embedding)

    def with_stages(self, patterns: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The embedding (N, E), and the mean over the image after every stage (N, channels)."""
        hidden, means = patterns[:, None], []
        for stage in self.stages:
            hidden = stage(hidden)
            means.append(hidden.float().mean(dim=(2, 3)))
        with full_precision(patterns.device):
            return functional.normalize(self.head(means[-1]), dim=1), means


class RecipeResNet(Encoder):
    """The published network: ResNet-50 (arXiv:1512.03385) with one input channel."""

    def __init__(self, embedding: int) -> None:
        """Args: length of the embedding."""
        super().__init__()
        from monai.networks.nets import resnet50  # slow to import, and only this network needs it

        self.body = resnet50(spatial_dims=2, n_input_channels=1, num_classes=embedding)

    def with_stages(self, patterns: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The embedding (N, E), and the mean over the image after each of the four stages (N, channels)."""
        body = self.body
        hidden, means = body.maxpool(body.act(body.bn1(body.conv1(patterns[:, None])))), []
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            hidden = stage(hidden)
            means.append(hidden.float().mean(dim=(2, 3)))
        with full_precision(patterns.device):
            return functional.normalize(body.fc(means[-1]), dim=1), means


class Matcher(nn.Module):
    """Two encoders, of observed and of calculated patterns, and the scale of their similarities."""

    def __init__(self, observed: Encoder, calculated: Encoder) -> None:
        """Args: networks of the same shape."""
        super().__init__()
        self.observed, self.calculated = observed, calculated
        self.log_sharpness = nn.Parameter(torch.tensor(_SHARPNESS).log())

    def forward(
        self, observed: Tensor, calculated: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor, list[Tensor], Tensor]:
        """Features and stages of the observed, those of the calculated, and the sharpness ()."""
        return (
            *self.observed.with_stages(observed),
            *self.calculated.with_stages(calculated),
            self.log_sharpness.exp().clamp_max(100.0),
        )


def make_encoder(settings: NetworkSettings, variant: Variant, seed: int) -> Encoder:
    """An encoder of the arm with random weights that follow from the seed."""
    torch.manual_seed(seed)
    if not variant.not_equivariant:
        return AngularNetwork(settings.rings, settings.angles, settings.width, settings.layers)
    if settings.recipe == "resnet50":
        return RecipeResNet(settings.embedding)
    return RecipeNetwork(settings.recipe_widths, settings.embedding)


def make_matcher(settings: NetworkSettings, variant: Variant, seed: int) -> Matcher:
    """Both encoders, at first with the same weights."""
    return Matcher(make_encoder(settings, variant, seed), make_encoder(settings, variant, seed))


def load_matcher(path: Path) -> Matcher:
    """The networks of a weights file in evaluation mode on the CPU.

    Raises:
        InputError: the file is missing or damaged, or not of this method.
    """
    metadata = read_metadata(path, "matching")
    settings = check(NetworkSettings, metadata["network"], f"{path}: network")
    matcher = make_matcher(settings, ARMS[metadata["arm"]], seed=0)
    load_weights(matcher, path)
    return matcher.eval()


def describe_network(settings: NetworkSettings, arm: str) -> dict:
    """The metadata of the weights, from which `load_matcher` makes the networks."""
    return {"method": "matching", "network": settings.model_dump(mode="json"), "arm": arm}
