"""The classical baselines: correlation of polar patterns, and normalised cross-correlation of turned ones."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workflow_scripts.matching.encoding import blurred, polar_patterns, stabilised, turned
from workflow_scripts.matching.model import correlations, correlations_of_spectra, spectra
from workflow_scripts.matching.pattern_files import Pairs

RINGS, ANGLES = 32, 120  # of the polar template matcher
_GAMMAS, _POWERS = (0.25, 0.5, 1.0), (0.0, 0.5, 1.0)
_DOSES_E = 100.0, 1000.0  # of the training patterns that choose, in the spots and again in the background
_TUNED_ON = 300  # training pairs
_BINNED_PX = 32  # side of the patterns that are cross-correlated
IN_PLANE = 72  # in-plane angles of every template
_BLUR_PX = 1.0  # of patterns before they are binned


@dataclass(frozen=True)
class PolarTemplates:
    """Correlation of polar patterns over the in-plane angle, as orientation mapping does it.

    Rauch and Véron, doi:10.1002/mawe.200500923; by fast Fourier transforms Ophus et al.,
    doi:10.1017/S1431927622000101.

    Attributes:
        gamma: power to which counts are raised.
        power: of the radius by which rings are weighted.
        gallery: `spectra` of the gallery.
    """

    gamma: float
    power: float
    gallery: Tensor

    @classmethod
    def of(cls, gallery: Tensor, gamma: float, power: float) -> "PolarTemplates":
        """Of calculated patterns (G, n, n)."""
        return cls(gamma, power, spectra(_features(gallery, gamma, power)))

    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        found = spectra(_features(counts, self.gamma, self.power))
        return correlations_of_spectra(found, self.gallery, ANGLES)


def tuned(pairs: Pairs, device: torch.device) -> tuple[float, float]:
    """Gamma and power with which most training patterns, counted at low doses, find their own calculated one."""
    counts, calculated = _training_patterns(pairs, device)
    own = torch.arange(len(counts), device=device)

    def found(gamma: float, power: float) -> float:
        curves = correlations(_features(counts, gamma, power), _features(calculated, gamma, power))
        return float((curves.amax(dim=-1).argmax(dim=1) == own).float().mean())

    return max(itertools.product(_GAMMAS, _POWERS), key=lambda choice: found(*choice))


def tuned_gamma(pairs: Pairs, device: torch.device) -> float:
    """The same for the cross-correlation, which has no weights of rings."""
    counts, calculated = _training_patterns(pairs, device)
    own = torch.arange(len(counts), device=device)

    def found(gamma: float) -> float:
        alike = _normalised(counts, gamma) @ _normalised(calculated, gamma).T
        return float((alike.argmax(dim=1) == own).float().mean())

    return max(_GAMMAS, key=found)


def _training_patterns(pairs: Pairs, device: torch.device) -> tuple[Tensor, Tensor]:
    """Counts at low doses and calculated patterns (P, n, n) of some training pairs."""
    generator = torch.Generator().manual_seed(0)
    first = np.arange(min(_TUNED_ON, len(pairs)))
    spots, background, calculated = (
        torch.from_numpy(part[first]) for part in (pairs.spots, pairs.background, pairs.calculated)
    )
    low, high = _DOSES_E
    dose = low * (high / low) ** torch.rand(len(spots), 1, 1, generator=generator)
    counts = torch.poisson(dose * (spots + background), generator=generator).to(device)
    return counts, calculated.to(device)


def _features(patterns: Tensor, gamma: float, power: float) -> Tensor:
    """(N, n, n) → (N, R, A) of norm 1, without the mean of every ring."""
    seen = stabilised(polar_patterns(patterns, RINGS, ANGLES), gamma)
    radius = torch.arange(1, RINGS + 1, device=patterns.device)[:, None]
    seen = (seen - seen.mean(dim=-1, keepdim=True)) * radius**power
    return seen / seen.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]


@dataclass(frozen=True)
class CrossCorrelation:
    """Normalised cross-correlation with every template at every in-plane angle, at zero offset.

    Patterns are blurred and binned: at low dose a spot is a few electrons spread over pixels.

    Attributes:
        gamma: power to which counts are raised.
        templates: (G, A, m²), mean 0 and norm 1.
    """

    gamma: float
    templates: Tensor

    @classmethod
    def of(cls, gallery: Tensor, gamma: float) -> "CrossCorrelation":
        """Of calculated patterns (G, n, n)."""
        steps = torch.arange(IN_PLANE, device=gallery.device) * (360.0 / IN_PLANE)
        copies = [_normalised(turned(gallery, angle.expand(len(gallery))), gamma) for angle in steps]
        return cls(gamma, torch.stack(copies, dim=1))

    def curves(self, counts: Tensor) -> Tensor:
        """Similarity of patterns (B, n, n) to every template over the in-plane angle: (B, G, A)."""
        found = _normalised(counts, self.gamma) @ self.templates.flatten(0, 1).T
        return found.unflatten(1, self.templates.shape[:2])


def _normalised(patterns: Tensor, gamma: float) -> Tensor:
    """(N, n, n) → blurred, binned, raised to the power gamma, mean 0, norm 1: (N, m²)."""
    seen = functional.adaptive_avg_pool2d(blurred(patterns, _BLUR_PX)[:, None], min(_BINNED_PX, patterns.shape[-1]))
    seen = seen.flatten(1).clamp_min(0) ** gamma
    seen = seen - seen.mean(dim=1, keepdim=True)
    return seen / seen.norm(dim=1, keepdim=True).clamp_min(1e-12)
