"""Far-field diffraction of a thin object: exit wave, detector wave, intensity."""

import torch
from torch import Tensor


def far_field(wave: Tensor) -> Tensor:
    """Fraunhofer propagation to the detector, unitary: ∑|out|² = ∑|in|².

    Args:
        wave: complex (..., n, n), the optical axis at [n//2, n//2].

    Returns:
        complex (..., n, n), zero frequency at [n//2, n//2].
    """
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(wave, dim=axes), norm="ortho"), dim=axes)


def near_field(wave: Tensor) -> Tensor:
    """The adjoint of :func:`far_field`, which is its inverse; same shapes."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(wave, dim=axes), norm="ortho"), dim=axes)


def diffraction_pattern(probe: Tensor, phase: Tensor) -> Tensor:
    """Intensity |F(P e^{iφ})|² behind a pure phase object (the projection approximation).

    Differentiable in both arguments. With ∑|P|² = 1 a pattern sums to 1.

    Args:
        probe: complex (n, n), probe centre at [n//2, n//2].
        phase: (..., n, n) in rad.

    Returns:
        (..., n, n), zero frequency at [n//2, n//2].
    """
    exit_wave = probe * torch.exp(1j * phase)  # (..., n, n) complex
    wave = far_field(exit_wave)
    return wave.real.square() + wave.imag.square()
