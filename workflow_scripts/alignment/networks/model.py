"""The networks of both arms: from spectra of particle images to the rotation between two images.

Corrected: each image is encoded separately as features on rings of its spectrum, by convolutions that are circular
along the angle, so that a rotation of the particle is a shift of its features. Two images are compared by circular
correlation: the angle of (A, A) is 0 by construction, that of (B, A) the opposite of (A, B), and an untrained network
predicts the same as the classical correlation. Published: a convolutional network regresses the angle from two
Cartesian spectra.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.alignment.networks.polar_alignment import ANGLES, FIRST_RING, standardised
from workflow_scripts.alignment.settings import VARIANTS, NetworkSettings, Variant
from workflow_scripts.alignment.simulation.geometry import polar_power_spectra
from workflow_scripts.learning.precision import full_precision
from workflow_scripts.learning.weights import load_weights, read_metadata
from workflow_scripts.workflow.settings import check

_CHANNELS_OUT = 4
_KERNEL = (3, 7)  # rings, angles
_SHARPNESS = 3.5  # initial value: logarithm of the factor from correlation coefficients to logits
_INPUT_GAIN = 10.0  # the amplitudes of an image of variance 1 are small


def polar_spectra(images: Tensor, rings: int) -> Tensor:
    """|F| of images on rings from 2 periods per image outwards, less the mean of each ring.

    Args:
        images: (N, n, n), n > 2 (rings + 2).
        rings: number of rings, one period per image apart.

    Returns:
        (N, rings, 180).

    Raises:
        ValueError: the images are too small for so many rings.
    """
    radii = torch.arange(FIRST_RING, FIRST_RING + rings)
    amplitude = polar_power_spectra(standardised(images), radii, ANGLES).sqrt() / images.shape[-1]
    return amplitude - amplitude.mean(dim=-1, keepdim=True)


class CorrelationNetwork(nn.Module):
    """Encoder of one image; two images are compared by the circular correlation of their features."""

    def __init__(self, rings: int, width: int, layers: int) -> None:
        """Args: rings of the spectrum, channels of each layer, layers."""
        super().__init__()
        self.rings = rings
        self.ring_weight = nn.Parameter(torch.ones(rings, 1))
        self.feature_weight = nn.Parameter(torch.ones(_CHANNELS_OUT, rings, 1))
        self.log_sharpness = nn.Parameter(torch.tensor(_SHARPNESS))
        widths = [1] + [width] * layers
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, _KERNEL) for before, after in pairwise(widths))
        self.head = nn.Conv2d(width, _CHANNELS_OUT, 1)
        # The untrained network compares only the spectra themselves
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, spectra: Tensor) -> Tensor:
        """(N, R, 180) → features (N, F, 180) of norm 1, each with mean 0 along the angle."""
        hidden = _INPUT_GAIN * spectra[:, None]
        for convolution in self.convolutions:
            around = functional.pad(hidden, (_KERNEL[1] // 2, _KERNEL[1] // 2, 0, 0), mode="circular")
            around = functional.pad(around, (0, 0, _KERNEL[0] // 2, _KERNEL[0] // 2), mode="replicate")
            hidden = functional.silu(convolution(around))
        learned = self.head(hidden) * self.feature_weight
        features = torch.cat([spectra * self.ring_weight, learned.flatten(1, 2)], dim=1)
        features = features - features.mean(dim=-1, keepdim=True)
        return features / features.flatten(1).norm(dim=1).clamp_min(1e-20)[:, None, None]


class RecipeNetwork(nn.Module):
    """The published network: a mask for each spectrum, residual blocks shared by both, linear layers to an angle."""

    def __init__(self, side_px: int, mask_widths: tuple[int, ...], widths: tuple[int, ...]) -> None:
        """Args: side of the spectra; channels of the mask; channels after each block, which halves the image."""
        super().__init__()
        self.side_px = side_px
        masking: list[nn.Module] = []
        for before, after in pairwise((1, *mask_widths)):
            masking += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.mask = nn.Sequential(*masking, nn.Conv2d(mask_widths[-1], 1, 3, padding=1), nn.Sigmoid())
        self.blocks = nn.ModuleList(_Block(*channels) for channels in pairwise((1, *widths)))
        last = widths[-1]
        # As in the recipe, although three linear layers without a nonlinearity between them act as one
        self.regression = nn.Sequential(nn.Linear(2 * last, last), nn.Linear(last, last), nn.Linear(last, 1))
        self.autoencoder = nn.Sequential(
            *(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1)),
            *(nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, 2), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2, 2), nn.ReLU()),
            nn.ConvTranspose2d(2, 1, 2, 2),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """angle(first) − angle(second), degrees: (N, s, s), (N, s, s) → (N,)."""
        vectors = []
        for spectra in (first, second):
            hidden = spectra[:, None] * self.mask(spectra[:, None])
            for block in self.blocks:
                hidden = block(hidden)
                if min(hidden.shape[-2:]) > 1:
                    hidden = functional.max_pool2d(hidden, 2)
            vectors.append(hidden.mean(dim=(-2, -1)))
        # bfloat16 has steps of 1° at 180°
        with full_precision(first.device):
            return 90 + 90 * self.regression(torch.cat(vectors, dim=1).float())[:, 0]


class _Block(nn.Module):
    """A bottleneck: 1 × 1, 3 × 3, 1 × 1, each with batch normalisation, beside a 1 × 1 shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        middle = max(1, after // 2)
        layers: list[nn.Module] = []
        for channels_in, channels_out, kernel in ((before, middle, 1), (middle, middle, 3), (middle, after, 1)):
            layers += [nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2), nn.BatchNorm2d(channels_out)]
            layers.append(nn.ReLU())
        self.path = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.path(x) + self.shortcut(x))


def recipe_spectra(images: Tensor, side_px: int) -> Tensor:
    """Central part (N, s, s), s ≤ n, of log(1 + |F|) of images (N, n, n), each stretched to [0, 1]."""
    amplitude = torch.fft.fftshift(torch.fft.fft2(images).abs(), dim=(-2, -1)).log1p()
    side = min(side_px, images.shape[-1])
    first = images.shape[-1] // 2 - side // 2
    part = amplitude[:, first : first + side, first : first + side]
    low, high = part.amin(dim=(1, 2), keepdim=True), part.amax(dim=(1, 2), keepdim=True)
    return (part - low) / (high - low).clamp_min(1e-20)


def make_network(settings: NetworkSettings, variant: Variant, seed: int) -> nn.Module:
    """The network of an arm, with random weights determined by the seed."""
    torch.manual_seed(seed)
    if variant.not_equivariant:
        return RecipeNetwork(settings.recipe_px, settings.recipe_mask_widths, settings.recipe_widths)
    return CorrelationNetwork(settings.rings, settings.width, settings.layers)


def load_network(path: Path) -> tuple[nn.Module, str]:
    """The network of a weights file, in evaluation mode on the CPU, and its arm.

    Raises:
        InputError: the file is missing, damaged, or of another method.
    """
    about = read_metadata(path, "alignment")
    settings = check(NetworkSettings, about["network"], f"{path}: network")
    network = make_network(settings, VARIANTS[about["arm"]], seed=0)
    load_weights(network, path)
    return network.eval(), about["arm"]


def describe_network(settings: NetworkSettings, arm: str) -> dict:
    """Metadata of the weights, from which `load_network` rebuilds the network."""
    return {"method": "alignment", "network": settings.model_dump(mode="json"), "arm": arm}
