"""Correlation of two images over every angle and shift, weighted at every frequency by what it tells about the pose."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.networks.matching import Disc, Observations, observe
from workflow_scripts.alignment.settings import PredictCartesianPairwise as Options
from workflow_scripts.alignment.simulation.geometry import half_plane_weights, peak, peak_2d
from workflow_scripts.alignment.simulation.imaging import fourier_rings
from workflow_scripts.alignment.simulation.labels import FITTED
from workflow_scripts.workflow.command import Job


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
        ratio Σ Re(c₁ X₁ c₂ X₂*) S / (1 + S (c₁² + c₂²)): phases are flipped, and frequencies without signal left out.

        Args:
            images: (N, n, n), N ≥ 2.
            transfer: (N, n, n//2 + 1).

        Returns:
            float32 arrays: pair_deg in [0, 180) and pair_whole_deg in [0, 360), (N − 1,), and pair_shift_px (N − 1, 2).
        """
        observations = observe(images, transfer)
        first, second = observations[:-1], observations[1:]
        disc = Disc(images.shape[-1], cut_off(observations, self.options), images.device)
        weight = observations.signal / (1 + observations.signal * (first.information + second.information))
        fixed, turned = disc.spectra(disc.vectors(first.spectra * weight) * disc.compared), disc.vectors(second.spectra)
        limit = disc.small_px / 4

        def correlations(angle_deg: Tensor) -> tuple[Tensor, Tensor]:
            """(N − 1, m, m) with the second image rotated by an angle (N − 1,), and by 180° more."""
            rotated = disc.spectra(disc.rotated(turned, angle_deg))
            return tuple(torch.fft.irfft2(fixed * other, s=(disc.small_px,) * 2) for other in (rotated.conj(), rotated))

        axis = torch.fft.fftfreq(disc.small_px, 1 / disc.small_px, device=images.device).abs() > limit
        beyond = axis[:, None] | axis
        angles = torch.arange(0, 180, self.options.step_deg, device=images.device)
        highest = [
            [surfaces.masked_fill(beyond, -torch.inf).amax(dim=(1, 2)) for surfaces in correlations(angle)]
            for angle in angles[:, None].expand(-1, len(turned))
        ]
        curves = torch.cat([torch.stack(branch, dim=1) for branch in zip(*highest, strict=True)], dim=1)
        angle_deg = peak(curves)[0] * self.options.step_deg
        position, _ = peak_2d(correlations(angle_deg)[0], limit)
        arrays = {"pair_deg": torch.remainder(angle_deg, 180), "pair_whole_deg": angle_deg}
        arrays["pair_shift_px"] = position * (disc.n / disc.small_px)
        return {name: array.cpu().numpy().astype(np.float32) for name, array in arrays.items()}


def cut_off(observations: Observations, options: Options) -> int:
    """The ring within which the expected likelihood ratio has reached `options.information_share` of its sum."""
    information = observations.signal[0] * observations.information.mean(dim=0)
    n = len(information)
    ratio = (information / (1 + 2 * information)).square() * half_plane_weights(n, information.device)
    rings = torch.stack([ratio[fourier_rings(n, ratio.device) == ring].sum() for ring in range(n // 2)])
    reached = rings.cumsum(dim=0) < options.information_share * rings.sum()
    return int(reached.sum().clamp(min(options.smallest_ring, n // 2 - 1), options.largest_ring))
