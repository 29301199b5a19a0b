"""Correlation of two images over every angle and shift, weighted at every frequency by what it tells about the pose."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.networks.matching import Disc, Observations, observe
from workflow_scripts.alignment.networks.maximum_likelihood import vertex
from workflow_scripts.alignment.settings import PredictCartesianPairwise as Options
from workflow_scripts.alignment.simulation.geometry import half_plane_weights, peak_2d
from workflow_scripts.alignment.simulation.imaging import fourier_rings
from workflow_scripts.alignment.simulation.labels import FITTED
from workflow_scripts.workflow.command import Job

_LARGEST_SHIFT = 0.25  # along y and along x, as a share of the side


def make(job: Job, device: torch.device) -> dict[str, "CartesianAligner"]:
    """The aligner of the only stage; it compares pairs."""
    return {FITTED: CartesianAligner(job.arguments.options)}


@dataclass(frozen=True)
class CartesianAligner:
    """Relative poses of consecutive images; it needs the contrast transfer of every image."""

    options: Options

    def predict(self, images: Tensor, transfer: Tensor) -> dict[str, np.ndarray]:
        """Relative poses of consecutive images: image i is image i + 1 moved by `geometry.move`.

        Two images of one unknown particle, which is a Gaussian field of power S after whitening, have the likelihood
        ratio Σ Re(c₁ X₁ c₂ X₂*) S / (1 + S (c₁² + c₂²)): both are weighted by their contrast transfer, which also
        corrects its signs, and frequencies without signal are left out.

        Args:
            images: (N, n, n), N ≥ 2.
            transfer: (N, n, n//2 + 1).

        Returns:
            float32 arrays: pair_deg in [0, 180) and pair_whole_deg in [0, 360), (N − 1,), and pair_shift_px (N − 1, 2).
        """
        observations = observe(images, transfer)
        disc = Disc(images.shape[-1], cut_off(observations, self.options), images.device)
        pairs = Pairs.consecutive(observations, disc)
        angle_deg, shift_px = pairs.refined(pairs.searched(self.options.step_deg), self.options.step_deg)
        arrays = {"pair_deg": torch.remainder(angle_deg, 180), "pair_whole_deg": angle_deg, "pair_shift_px": shift_px}
        return {name: array.cpu().numpy().astype(np.float32) for name, array in arrays.items()}


@dataclass(frozen=True)
class Pairs:
    """The first images, weighted, as spectra (N − 1, m, m//2 + 1) of small images, the second ones as vectors."""

    disc: Disc
    first: Tensor
    second: Tensor

    @classmethod
    def consecutive(cls, observations: Observations, disc: Disc) -> "Pairs":
        """All images but the last, and all but the first."""
        first, second, signal = observations[:-1], observations[1:], observations.signal
        weight = signal / (1 + signal * (first.information + second.information))
        weighted = disc.vectors(first.spectra * weight) * disc.compared
        return cls(disc, disc.spectra(weighted), disc.vectors(second.spectra))

    def correlations(self, angle_deg: Tensor) -> tuple[Tensor, Tensor]:
        """Likelihood ratios (N − 1, m, m) at all shifts with second images at an angle (N − 1,), and at 180° more."""
        second = self.disc.spectra(self.disc.rotated(self.second, angle_deg))
        size = (self.disc.small_px,) * 2
        return torch.fft.irfft2(self.first * second.conj(), s=size), torch.fft.irfft2(self.first * second, s=size)

    def searched(self, step_deg: float) -> Tensor:
        """Angles (N − 1,) of the highest values, on a grid of the whole circle."""
        px, device = self.disc.small_px, self.second.device
        far = torch.fft.fftfreq(px, device=device).abs() > _LARGEST_SHIFT
        angles = torch.arange(0, 180, step_deg, device=device)
        highest = [
            [values.masked_fill(far[:, None] | far, -torch.inf).amax(dim=(1, 2)) for values in self.correlations(angle)]
            for angle in angles[:, None].expand(-1, len(self.second))
        ]
        curves = torch.stack([values for branch in zip(*highest, strict=True) for values in branch], dim=1)
        return step_deg * curves.argmax(dim=1)

    def refined(self, angle_deg: Tensor, reach_deg: float) -> tuple[Tensor, Tensor]:
        """Angles (N − 1,) in [0, 360) and shifts (N − 1, 2), px of the full image, by parabolas within the reach."""
        limit = _LARGEST_SHIFT * self.disc.small_px
        offsets = torch.linspace(-reach_deg, reach_deg, 5, device=angle_deg.device)
        heights = [peak_2d(self.correlations(angle_deg + offset)[0], limit)[1] for offset in offsets]
        place = vertex(torch.stack(heights, dim=1)[:, None, None])[:, 2]
        angle_deg = torch.remainder(angle_deg + reach_deg * place, 360)
        position, _ = peak_2d(self.correlations(angle_deg)[0], limit)
        return angle_deg, position * (self.disc.n / self.disc.small_px)


def cut_off(observations: Observations, options: Options) -> int:
    """The ring within which the expected likelihood ratio has reached `options.information_share` of its sum."""
    information = observations.signal[0] * observations.information.mean(dim=0)
    n = len(information)
    ratio = (information / (1 + 2 * information)).square() * half_plane_weights(n, information.device)
    rings = torch.stack([ratio[fourier_rings(n, ratio.device) == ring].sum() for ring in range(n // 2)])
    reached = rings.cumsum(dim=0) < options.information_share * rings.sum()
    return int(reached.sum().clamp(min(options.smallest_ring, n // 2 - 1), options.largest_ring))
