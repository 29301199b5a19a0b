"""Iterative ptychography of a pure phase object with a known probe: the classical estimator for a scan.

The object is cubic B-splines on object pixels, the forward model that of the simulation. Gradient steps with
momentum over shuffled batches, as in ePIE (doi:10.1016/j.ultramic.2009.05.012), on the Poisson likelihood
(doi:10.1088/1367-2630/14/6/063004). A single pattern is insensitive to long periods, so every step is divided by
the curvature of the likelihood at each spatial frequency, which depends only on the probe: a few passes over the
data suffice. Held-out patterns choose the iteration; no truth is used.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.networks.imaging import Predictions, image_arrays, predict_scans
from workflow_scripts.diffractive_imaging.networks.splines import TAPS, as_stitched, spline_weights, taps
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.settings import PtychographySettings as Options
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, Scan
from workflow_scripts.workflow.command import Job

HELD_OUT_SHARE = 0.05  # of the patterns: they choose the iteration and are not fitted
STEP, MOMENTUM = 0.25, 0.8
CURVATURE_FLOOR = 1e-3  # of the largest: limits the steps of frequencies that hardly change the patterns
# Electrons per pixel that are added to the counts and to their expected values: the likelihood stays finite where none
# is expected, and the gradient at the truth still vanishes on average.
BACKGROUND_E = 1e-3
# Patterns per chunk: on a CPU as many as fit in the cache, on a GPU enough to occupy it.
_CHUNK = {"cpu": 256, "cuda": 16384}


def predict(job: Job, device: torch.device) -> Predictions:
    """Images, no patches, each of its best iteration; the log has the losses of all iterations."""
    light = Illumination.read(job.input("test"))

    def image(scan: Scan, dose_e: float) -> dict[str, np.ndarray]:
        options, seed = job.arguments.options, job.arguments.training_seed
        fit = reconstruct(scan.along_object().counts, scan.positions_px, light, dose_e, options, seed, device)
        for number, (loss, held_out) in enumerate(fit.losses, start=1):
            best = ", the best" if number == fit.image.iterations else ""
            print(f"iteration {number}: loss {loss:.5f}, held out {held_out:.5f}{best}", file=sys.stderr)
        return image_arrays(fit.image) | {"iterations": np.array(fit.image.iterations)}

    return predict_scans(image, "fitted", job.input("test"))


@dataclass(frozen=True)
class Reconstruction:
    """The object of the best iteration, and how the fit went.

    image: of the iteration with the smallest loss of the held-out patterns; `image.iterations` is its number.
    losses: (fitted, held out) of every iteration, Poisson deviance per detector pixel: 1 for the truth at high
        counts, less at low ones.
    """

    image: Stitched
    losses: tuple[tuple[float, float], ...]


def reconstruct(
    counts: Tensor,
    positions_px: Tensor,
    light: Illumination,
    dose_e: float,
    settings: Options,
    seed: int,
    device: torch.device,
) -> Reconstruction:
    """Fit the object to the patterns of one scan.

    Args:
        counts: (N, n, n), with the axes of the object.
        positions_px: (N, 2) [y, x], object pixels.
        dose_e: electrons per pattern.
        seed: of the held-out patterns and of the shuffles.
    """
    scan = ScanFit(counts, positions_px, light, dose_e, device)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(counts), generator=generator)
    n_held_out = max(1, round(HELD_OUT_SHARE * len(order)))
    held_out, fitted = order[:n_held_out], order[n_held_out:]
    inverse = scan.inverse_curvature()
    coefficients = torch.zeros(scan.shape, device=device)
    velocity, best, losses = torch.zeros_like(coefficients), coefficients, []
    batches, steps = settings.batches, settings.iterations * settings.batches
    for iteration in range(settings.iterations):
        shuffled = fitted[torch.randperm(len(fitted), generator=generator)]
        fitted_loss = 0.0
        for number, batch in enumerate(shuffled.chunk(batches)):
            loss, gradient = scan.loss_and_gradient(coefficients + MOMENTUM * velocity, batch)
            fitted_loss += loss * len(batch) / len(fitted)
            decay = 0.5 + 0.5 * math.cos(math.pi * (iteration * batches + number) / steps)
            newton = torch.fft.irfft2(torch.fft.rfft2(gradient) * inverse, s=scan.shape)
            velocity = MOMENTUM * velocity - STEP * decay * newton
            coefficients = coefficients + velocity
        held_out_loss = scan.loss(coefficients, held_out)
        if not losses or held_out_loss < min(loss for _, loss in losses):
            best, best_iteration = coefficients, iteration + 1
        losses.append((fitted_loss, held_out_loss))
    image = as_stitched(best, scan.origin, positions_px, light, best_iteration)
    return Reconstruction(image, tuple(losses))


class ScanFit:
    """Loss of an object against the patterns of a scan, with its gradient and its curvature.

    shape: (H, W) of the coefficients; origin: object pixel (y, x) of coefficient [0, 0].
    Arguments are those of `reconstruct`.
    """

    def __init__(
        self, counts: Tensor, positions_px: Tensor, light: Illumination, dose_e: float, device: torch.device
    ) -> None:
        self._n, self._dose_e, self._device = light.n, dose_e, device
        origin = (positions_px.amin(0) - light.n // 2).floor().long() - 1
        first, fraction = taps(positions_px - light.n // 2 - origin)
        self.origin = tuple(origin.tolist())
        self.shape = tuple((first.amax(0) + light.n + TAPS - 1).tolist())
        self._first = first.to(device)
        self._weights = spline_weights(fraction).float().to(device)  # (N, 2, 4)
        self._probe = light.probe.to(device, torch.complex64)
        # Patterns in FFT order; the origin of the FFT's input changes only phases on the detector.
        self._counts = torch.fft.ifftshift(counts.to(device).float(), dim=(-2, -1)) + BACKGROUND_E
        self._area_px = float((positions_px.amax(0) - positions_px.amin(0) + 1).prod())

    def loss(self, coefficients: Tensor, rows: Tensor) -> float:
        """Poisson deviance per detector pixel of the patterns `rows`."""
        total = sum(self._deviance(self._forward(coefficients, part)[2], part) for part in self._chunks(rows))
        return float(total) / (len(rows) * self._n**2)

    def loss_and_gradient(self, coefficients: Tensor, rows: Tensor) -> tuple[float, Tensor]:
        """`loss`, and its gradient (H, W) by the coefficients."""
        n, scale = self._n, 1 / (len(rows) * self._n**2)
        gradient = torch.zeros(math.prod(self.shape), device=self._device)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for part in self._chunks(rows):
            exit_wave, detector_wave, expected = self._forward(coefficients, part)
            total += self._deviance(expected, part)
            # d/dφ of −2 Σ N log(expected); the expected sum does not depend on a pure phase object.
            ratio = self._counts[part] / expected
            wave = torch.fft.ifft2(detector_wave * ratio, norm="ortho")
            by_phase = 4 * self._dose_e * scale * (wave.real * exit_wave.imag - wave.imag * exit_wave.real)
            along_y, along_x = self._weights[part, :, :, None, None].unbind(1)  # (B, 4, 1, 1) each
            by_row = by_phase.new_zeros(len(part), n, n + TAPS - 1)
            by_coefficient = by_phase.new_zeros(len(part), n + TAPS - 1, n + TAPS - 1)
            for tap in range(TAPS):
                by_row[:, :, tap : tap + n] += along_x[:, tap] * by_phase
            for tap in range(TAPS):
                by_coefficient[:, tap : tap + n] += along_y[:, tap] * by_row
            gradient.index_add_(0, self._indices(part).flatten(), by_coefficient.flatten())
        return float(total) * scale, gradient.reshape(self.shape)

    def inverse_curvature(self) -> Tensor:
        """One over the mean curvature of `loss` at each frequency of the coefficients, (H, W // 2 + 1).

        Around a flat object a plane wave q of the phase changes the detector's amplitude by
        ½ |T_q − T*_−q| with T_q(k) = Ψ(k − q) Ψ*(k) / |Ψ(k)|, Ψ the probe on the detector; the Fisher information of
        Poisson counts is 4 per squared amplitude. Averaged over where the probe stands, plane waves do not mix.
        """
        n = self._n
        wave = torch.fft.fft2(self._probe, norm="ortho")
        unit = wave.conj() / wave.abs().clamp_min(torch.finfo(torch.float32).tiny)
        pixel = torch.arange(n, device=self._device) - n // 2
        q_y = torch.fft.fftfreq(self.shape[0], device=self._device)
        q_x = torch.fft.rfftfreq(self.shape[1], device=self._device)
        plane_x = torch.exp(2j * math.pi * q_x[:, None] * pixel)[:, None, :]  # (W // 2 + 1, 1, n)
        curvature = []
        for q in q_y:
            plane = torch.exp(2j * math.pi * q * pixel)[:, None] * plane_x  # (W // 2 + 1, n, n)
            plus_q, minus_q = (torch.fft.fft2(self._probe * w, norm="ortho") * unit for w in (plane, plane.conj()))
            curvature.append((plus_q - minus_q.conj()).abs().square().sum(dim=(-2, -1)))
        symbol = 2 * self._dose_e / (n**2 * self._area_px) * torch.stack(curvature)
        return 1 / (symbol + CURVATURE_FLOOR * symbol.max())

    def _chunks(self, rows: Tensor) -> tuple[Tensor, ...]:
        return rows.to(self._device).split(_CHUNK[self._device.type])

    def _indices(self, rows: Tensor) -> Tensor:
        """Flat indices (B, n + 3, n + 3) of the coefficients that each window reads."""
        side = torch.arange(self._n + TAPS - 1, device=self._device)
        first = self._first[rows, :, None] + side  # (B, 2, n + 3)
        return first[:, 0, :, None] * self.shape[1] + first[:, 1, None, :]

    def _forward(self, coefficients: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Exit waves and detector waves, complex (B, n, n), and expected electrons (B, n, n)."""
        n = self._n
        block = coefficients.flatten()[self._indices(rows)]  # (B, n + 3, n + 3)
        along_y, along_x = self._weights[rows, :, :, None, None].unbind(1)
        by_row = sum(along_y[:, tap] * block[:, tap : tap + n] for tap in range(TAPS))  # (B, n, n + 3)
        phase = sum(along_x[:, tap] * by_row[:, :, tap : tap + n] for tap in range(TAPS))  # (B, n, n)
        exit_wave = self._probe * torch.polar(torch.ones_like(phase), phase)
        detector_wave = torch.fft.fft2(exit_wave, norm="ortho")
        intensity = detector_wave.real.square() + detector_wave.imag.square()
        return exit_wave, detector_wave, self._dose_e * intensity + BACKGROUND_E

    def _deviance(self, expected: Tensor, rows: Tensor) -> Tensor:
        """2 Σ (expected − N + N log(N / expected)), float64."""
        counts = self._counts[rows]
        return 2 * (expected - counts + counts * (counts / expected).log()).sum(dtype=torch.float64)
