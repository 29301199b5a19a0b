"""Likelihood of noisy images under a reference at many angles and shifts, given contrast transfer and coloured noise.

Spectra are whitened: divided by the amplitude of the noise at every radius. For an image X with contrast transfer c the
log-likelihood of a reference A is then Σ Re(c X A*) − ½ Σ c² |A|². The second sum is the same at all poses, since c
depends only on the radius. Images and references are vectors of the coefficients within a circle, so the first sums of
many images over all angles and shifts are one product of matrices.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.alignment.networks.branch import centred_spectra
from workflow_scripts.alignment.simulation.geometry import resized_spectra, rotate
from workflow_scripts.alignment.simulation.imaging import fourier_rings, radial_power

FIRST_RING = 3  # compared; below, the transfer is near 0, and the corners of an image are too small to show the noise
_CORNERS = 0.47  # beyond this share of the side from the centre an image shows noise alone
_ROTATED_EXACTLY = 0.92  # of the radius of the inscribed circle, see `geometry.rotate`


class Disc:
    """The Fourier coefficients of n × n images up to `last_ring` periods per image, without the mean, as C-vectors.

    Coefficients that stand for two of the full plane are weighted by √2, so that the real part of the product of two
    vectors is the sum over the full plane. `compared` (C,) is 0 for rings below `FIRST_RING`, which rotations need but
    likelihoods leave out.
    """

    def __init__(self, n: int, last_ring: int, device: torch.device) -> None:
        self.n, self.last_ring = n, min(last_ring, n // 2 - 1)
        self.small_px = min(n, 2 * math.ceil(self.last_ring / _ROTATED_EXACTLY) + 2)
        rows = torch.fft.fftfreq(self.small_px, 1 / self.small_px, device=device)
        y, x = torch.meshgrid(rows, torch.arange(self.small_px // 2 + 1.0, device=device), indexing="ij")
        radius = torch.hypot(y, x).flatten()
        self._inside = ((radius > 0) & (radius <= self.last_ring)).nonzero()[:, 0]
        self._frequency = torch.stack([y.flatten(), x.flatten()])[:, self._inside]  # (2, C), periods per image
        self.compared = (torch.hypot(*self._frequency) > FIRST_RING - 0.5).float()
        self._weights = torch.where(self._frequency[1] == 0, 1.0, math.sqrt(2))

    def values(self, plane: Tensor) -> Tensor:
        """(N, C) from values at all Fourier pixels (N, n, n//2 + 1), or of the smaller box, without weights."""
        return resized_spectra(plane, self.small_px).flatten(1)[:, self._inside]

    def vectors(self, spectra: Tensor) -> Tensor:
        """Vectors (N, C) from spectra about the centre, (N, n, n//2 + 1) or of the smaller box."""
        return self.values(spectra) * self._weights

    def spectra(self, vectors: Tensor) -> Tensor:
        """Spectra (N, m, m//2 + 1) about the centre in a box of m = `small_px` pixels, from vectors (N, C)."""
        spectra = vectors.new_zeros(len(vectors), self.small_px * (self.small_px // 2 + 1))
        spectra[:, self._inside] = vectors / self._weights
        return spectra.unflatten(1, (self.small_px, -1))

    def images(self, vectors: Tensor) -> Tensor:
        """Images (N, m, m) of m = `small_px` pixels from vectors (N, C)."""
        centre = self.small_px // 2
        return torch.fft.irfft2(self.spectra(vectors), s=(self.small_px,) * 2).roll((centre, centre), (1, 2))

    def of_images(self, images: Tensor) -> Tensor:
        """Vectors (N, C) of images in either box."""
        return self.vectors(centred_spectra(images))

    def rotated(self, vectors: Tensor, angle_deg: Tensor) -> Tensor:
        """Vectors (N, C), or one (1, C), rotated by angles (N,)."""
        return self.of_images(rotate(self.images(vectors).expand(len(angle_deg), -1, -1), angle_deg))

    def phases(self, shift_px: Tensor) -> Tensor:
        """Factors (S, C) that move a vector by shifts (S, 2), in pixels of the n × n image."""
        phase = (-2 * math.pi / self.n) * (shift_px @ self._frequency)
        return torch.polar(torch.ones_like(phase), phase)


@dataclass(frozen=True)
class Observations:
    """Images with their contrast transfer, and the power of signal and noise estimated from the images alone.

    Attributes:
        spectra: complex (N, n, n//2 + 1), about the centre, whitened, times the transfer.
        information: (N, n, n//2 + 1), squared transfer.
        signal: (1, n, n//2 + 1), power of the whitened particle at each radius.
        whitening: (1, n, n//2 + 1), by which spectra are multiplied.
    """

    spectra: Tensor
    information: Tensor
    signal: Tensor
    whitening: Tensor

    def __len__(self) -> int:
        return len(self.spectra)

    def __getitem__(self, indices: slice) -> "Observations":
        return Observations(self.spectra[indices], self.information[indices], self.signal, self.whitening)


def observe(images: Tensor, transfer: Tensor) -> Observations:
    """Observations from images (N, n, n) and their contrast transfers (N, n, n//2 + 1).

    The corners of the images have the power of the noise; what the whole images have beyond it is the signal's.
    """
    n = images.shape[-1]
    images = images - images.mean(dim=(1, 2), keepdim=True)
    axis = torch.arange(n, device=images.device) - n // 2
    corners = torch.sigmoid(torch.hypot(axis[:, None].float(), axis.float()) - _CORNERS * n)
    total, ring = _smooth(radial_power(images).mean(dim=0)), fourier_rings(n, images.device)
    total = total.clamp_min(max(1e-9 * float(total.max()), 1e-30))
    # Flattened first: of a steep spectrum the edge of the corners would spread low frequencies over the high ones
    flat = torch.fft.irfft2(torch.fft.rfft2(images) * total.rsqrt()[ring], s=(n, n))
    share = _smooth(radial_power(flat * corners).mean(dim=0)) / corners.square().mean()
    noise, squared = total * share.clamp(0.01, 1), transfer.square()
    excess = total / noise - 1
    signal, whitening = excess[ring] / squared.mean(dim=0).clamp_min(1e-3), noise.rsqrt()[ring]
    return Observations(centred_spectra(images) * transfer * whitening, squared, signal[None], whitening[None])


def _smooth(rings: Tensor) -> Tensor:
    """Mean of every ring (R,) and its neighbours; the first, the mean of an image, gets that of the second."""
    padded = torch.cat([rings[1:2], rings[1:], rings[-1:]])
    return torch.cat([rings[1:2], (padded[:-2] + padded[1:-1] + padded[2:]) / 3])
