"""Iterative ptychography of a pure phase object with a known probe: the classical estimator for a scan.

The object is cubic B-splines on object pixels, the forward model that of the simulation. Gradient steps with
momentum over shuffled batches, as in ePIE (doi:10.1016/j.ultramic.2009.05.012), on the Poisson likelihood
(doi:10.1088/1367-2630/14/6/063004) with a Gaussian 1/f prior, whose strength follows from the patterns
(`dpc.one_over_f_power`). A single pattern is insensitive to long periods, so every step is divided by the curvature of
likelihood and prior at each spatial frequency, which depends only on probe and dose: a few passes over the data
suffice. This mean curvature holds if the patterns of a batch cover the object, so the batches of a sparse scan are
larger. Held-out patterns choose the iteration; no truth is used.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.estimators.dpc import one_over_f_power
from workflow_scripts.diffractive_imaging.networks.imaging import Predictions, image_arrays, predict_scans
from workflow_scripts.diffractive_imaging.networks.losses import MISFIT_LIMIT
from workflow_scripts.diffractive_imaging.networks.splines import TAPS, as_stitched, spline_weights, taps
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.settings import PtychographySettings as Options
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, Scan
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError

HELD_OUT_SHARE = 0.05  # of the patterns: they choose the iteration and are not fitted
LEAST_PATTERNS = 3  # one is held out, and the prior's strength is a variance
STEP, MOMENTUM = 0.25, 0.8
LEAST_COVERAGE = 0.7  # patterns of a batch over every point of the object: with fewer the steps overshoot somewhere
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
        if fit.refusal:
            print(fit.refusal, file=sys.stderr)
        kept = {"iterations": np.array(fit.image.iterations), "misfit": np.array(fit.misfit)}
        return image_arrays(fit.image) | kept

    return predict_scans(image, "fitted", job.input("test"))


@dataclass(frozen=True)
class Reconstruction:
    """The object of the best iteration, and how the fit went.

    image: of the iteration with the smallest loss of the held-out patterns; `image.iterations` is its number.
    losses: (fitted, held out) of every iteration, Poisson deviance per detector pixel: 1 for the truth at high
        counts, less at low ones.
    misfit: the loss of the held-out patterns over what Poisson noise gives at the fitted intensities.
    """

    image: Stitched
    losses: tuple[tuple[float, float], ...]
    misfit: float

    @property
    def refusal(self) -> str:
        """Why the image is not to be used, in a sentence; empty if the patterns do not contradict it."""
        if self.misfit <= MISFIT_LIMIT:
            return ""
        found = f"is {self.misfit:.2f} times what counting noise gives, expected at most {MISFIT_LIMIT:g}"
        advice = "check probe, defocus, positions, rotation and counts_per_electron, or scan with a smaller step"
        return f"ptychography does not explain the patterns that it was not fitted to: their deviance {found}; {advice}"


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

    Raises:
        InputError: there are fewer than `LEAST_PATTERNS` patterns.
    """
    scan = ScanFit(counts, positions_px, light, dose_e, device)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(counts), generator=generator)
    if len(order) < LEAST_PATTERNS:
        raise InputError(f"ptychography needs at least {LEAST_PATTERNS} patterns, and the scan has {len(order)}")
    n_held_out = max(1, round(HELD_OUT_SHARE * len(order)))
    held_out, fitted = order[:n_held_out], order[n_held_out:]
    precision = scan.prior_precision(one_over_f_power(counts[fitted], light)) / len(fitted)
    inverse = 1 / (scan.curvature() + precision)
    number = max(1, int(len(fitted) / max(1, scan.least_batch)))
    batches = _batches(fitted, min(settings.batches, number), generator)
    coefficients = torch.zeros(scan.shape, device=device)
    velocity, best, losses, fitted_losses = torch.zeros_like(coefficients), coefficients, [], []
    steps = settings.iterations * settings.batches
    for step in range(steps):
        ahead = coefficients + MOMENTUM * velocity
        loss, gradient = scan.loss_and_gradient(ahead, next(batches))
        decay = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        newton = (torch.fft.rfft2(gradient) + precision * torch.fft.rfft2(ahead)) * inverse
        velocity = MOMENTUM * velocity - STEP * decay * torch.fft.irfft2(newton, s=scan.shape)
        coefficients = coefficients + velocity
        fitted_losses.append(loss)
        if len(fitted_losses) == settings.batches:
            losses.append((sum(fitted_losses) / len(fitted_losses), scan.loss(coefficients, held_out)))
            fitted_losses = []
            if losses[-1][1] == min(loss for _, loss in losses):
                best, best_iteration = coefficients, len(losses)
    image = as_stitched(best, scan.origin, positions_px, light, best_iteration)
    misfit = losses[best_iteration - 1][1] / scan.loss_of_noise(best, held_out)
    return Reconstruction(image, tuple(losses), misfit)


def _batches(rows: Tensor, number: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Without end: the rows, shuffled anew in every pass, in `number` parts."""
    while True:
        yield from rows[torch.randperm(len(rows), generator=generator)].tensor_split(number)


class ScanFit:
    """Loss of an object against the patterns of a scan, with its gradient and its curvature.

    shape: (H, W) of the coefficients; origin: object pixel (y, x) of coefficient [0, 0].
    least_batch: patterns that a batch needs.
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
        # A probe covers 1 / Σ|P|⁴ pixels (its participation ratio).
        self.least_batch = LEAST_COVERAGE * self._area_px * float(light.probe.abs().pow(4).sum())

    def loss(self, coefficients: Tensor, rows: Tensor) -> float:
        """Poisson deviance per detector pixel of the patterns `rows`."""
        total = sum(_deviance(self._forward(coefficients, part)[2], self._counts[part]) for part in self._chunks(rows))
        return float(total) / (len(rows) * self._n**2)

    def loss_and_gradient(self, coefficients: Tensor, rows: Tensor) -> tuple[float, Tensor]:
        """`loss`, and its gradient (H, W) by the coefficients."""
        n, scale = self._n, 1 / (len(rows) * self._n**2)
        gradient = torch.zeros(math.prod(self.shape), device=self._device)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for part in self._chunks(rows):
            exit_wave, detector_wave, expected = self._forward(coefficients, part)
            total += _deviance(expected, self._counts[part])
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

    def loss_of_noise(self, coefficients: Tensor, rows: Tensor) -> float:
        """`loss` for counts that are simulated from the coefficients: what Poisson noise alone gives."""
        total, generator = 0.0, torch.Generator(self._device).manual_seed(0)
        for part in self._chunks(rows):
            expected = self._forward(coefficients, part)[2]
            counts = torch.poisson((expected - BACKGROUND_E).clamp_min(0), generator=generator) + BACKGROUND_E
            total += float(_deviance(expected, counts))
        return total / (len(rows) * self._n**2)

    def prior_precision(self, power: float) -> Tensor:
        """Curvature of −2 log of the prior, per detector pixel, at each frequency of the coefficients (H, W // 2 + 1).

        Args:
            power: A of the power spectrum A / q² of the phase, rad², q in cycles per object pixel. Periods beyond
                twice the image count as such.
        """
        q_y, q_x = self._frequencies()
        q_squared = (q_y.square()[:, None] + q_x.square()).clamp_min((2 * max(self.shape)) ** -2)
        # A cubic B-spline, sampled at its knots, damps a wave of coefficients by (2 + cos 2πq) / 3 along each axis.
        damped_y, damped_x = ((2 + torch.cos(2 * math.pi * q)) / 3 for q in (q_y, q_x))
        return 2 / (self._n**2 * power) * q_squared * (damped_y[:, None] * damped_x).square()

    def _frequencies(self) -> tuple[Tensor, Tensor]:
        """Of the coefficients along y (H,) and x (W // 2 + 1,), cycles per object pixel."""
        rows, columns = self.shape
        return torch.fft.fftfreq(rows, device=self._device), torch.fft.rfftfreq(columns, device=self._device)

    def curvature(self) -> Tensor:
        """The mean curvature of `loss` at each frequency of the coefficients, (H, W // 2 + 1).

        Around a flat object a plane wave q of the phase changes the detector's amplitude by
        ½ |T_q − T*_−q| with T_q(k) = Ψ(k − q) Ψ*(k) / |Ψ(k)|, Ψ the probe on the detector; the Fisher information of
        Poisson counts is 4 per squared amplitude. Averaged over where the probe stands, plane waves do not mix.
        """
        n = self._n
        wave = torch.fft.fft2(self._probe, norm="ortho")
        unit = wave.conj() / wave.abs().clamp_min(torch.finfo(torch.float32).tiny)
        pixel = torch.arange(n, device=self._device) - n // 2
        q_y, q_x = self._frequencies()
        plane_x = torch.exp(2j * math.pi * q_x[:, None] * pixel)[:, None, :]  # (W // 2 + 1, 1, n)
        curvature = []
        for q in q_y:
            plane = torch.exp(2j * math.pi * q * pixel)[:, None] * plane_x  # (W // 2 + 1, n, n)
            plus_q, minus_q = (torch.fft.fft2(self._probe * w, norm="ortho") * unit for w in (plane, plane.conj()))
            curvature.append((plus_q - minus_q.conj()).abs().square().sum(dim=(-2, -1)))
        symbol = 2 * self._dose_e / (n**2 * self._area_px) * torch.stack(curvature)
        return symbol + CURVATURE_FLOOR * symbol.max()

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


def _deviance(expected: Tensor, counts: Tensor) -> Tensor:
    """2 Σ (expected − N + N log(N / expected)), float64."""
    return 2 * (expected - counts + counts * (counts / expected).log()).sum(dtype=torch.float64)
