"""The convergent probe of a scanning transmission electron microscope, one coherent mode."""

import math

import torch
from torch import Tensor

from workflow_scripts.optics.diffraction import far_field, near_field
from workflow_scripts.optics.waves import wavelength_a


def pixel_size_a(n: int, voltage_kv: float, semiangle_mrad: float, aperture_radius_px: float) -> float:
    """Object pixel size in Å that an n × n detector implies: λ / (n Δα).

    Δα, the angle that one detector pixel spans, is ``semiangle_mrad`` / ``aperture_radius_px``.

    Raises:
        ValueError: an argument is not positive.
    """
    if not (n > 0 and semiangle_mrad > 0 and aperture_radius_px > 0):
        raise ValueError("n, semiangle_mrad and aperture_radius_px must be positive")
    return wavelength_a(voltage_kv) / (n * 1e-3 * semiangle_mrad / aperture_radius_px)


def aberration_phase(angle_rad: Tensor, voltage_kv: float, defocus_a: float, cs_mm: float) -> Tensor:
    """χ(α) = (2π/λ) (¼ Cs α⁴ − ½ Δf α²) in rad; Δf > 0 is underfocus.

    Eq. 2.10 of Kirkland, Advanced Computing in Electron Microscopy (doi:10.1007/978-3-030-33260-0).

    Args:
        angle_rad: any shape, rad.
    """
    squared = angle_rad.square()
    path_a = 0.25 * (cs_mm * 1e7) * squared.square() - 0.5 * defocus_a * squared
    return 2 * math.pi / wavelength_a(voltage_kv) * path_a


def make_probe(
    n: int,
    voltage_kv: float,
    semiangle_mrad: float,
    aperture_radius_px: float,
    defocus_a: float = 0.0,
    cs_mm: float = 0.0,
    skirt_amplitude: float = 0.0,
    skirt_decay_px: float = 1.0,
) -> Tensor:
    """Probe wave at the object: the aperture with its aberrations, carried to real space.

    The edge of the aperture falls off linearly over one detector pixel, as on a detector whose pixels
    integrate. Around the disc a weak coherent skirt, skirt_amplitude · exp(−(r − R) / decay) of the disc's
    amplitude, may be added, as is seen in probes retrieved from measurements; it is the reference wave that
    makes the dark field respond linearly to a weak phase. The source is a point: a finite one needs several
    coherent modes.

    Args:
        n: pixels along each side of detector and probe.
        voltage_kv: accelerating voltage in kV.
        semiangle_mrad: convergence semiangle in mrad.
        aperture_radius_px: radius of the bright disc in detector pixels.
        defocus_a: defocus in Å, positive is underfocus.
        cs_mm: spherical aberration in mm.
        skirt_amplitude: amplitude of the skirt at the rim, as a share of the disc's.
        skirt_decay_px: distance in detector pixels over which the skirt falls to 1/e.

    Returns:
        complex128 (n, n), centred at [n//2, n//2], ∑|P|² = 1.

    Raises:
        ValueError: the disc does not fit the detector, or an argument is not positive.
    """
    if not 0 < aperture_radius_px < n / 2:
        raise ValueError(f"an aperture radius of {aperture_radius_px} px does not fit a detector of {n} px")
    if not semiangle_mrad > 0:
        raise ValueError(f"semiangle_mrad must be positive, not {semiangle_mrad}")
    if not (0 <= skirt_amplitude < 1 and skirt_decay_px > 0):
        raise ValueError("skirt_amplitude must be at least 0 and below 1, skirt_decay_px positive")
    axis = torch.arange(n, dtype=torch.float64) - n // 2
    radius_px = torch.hypot(axis[:, None], axis[None, :])  # (n, n)
    outside_px = radius_px - aperture_radius_px
    skirt = skirt_amplitude * torch.exp(-outside_px.clamp(min=0) / skirt_decay_px)
    aperture = torch.maximum((0.5 - outside_px).clamp(0, 1), skirt)
    angle_rad = radius_px * (1e-3 * semiangle_mrad / aperture_radius_px)
    chi = aberration_phase(angle_rad, voltage_kv, defocus_a, cs_mm)
    probe = near_field(torch.polar(aperture, -chi))
    return probe / probe.abs().square().sum().sqrt()


def shift_probe(probe: Tensor, shift_px: Tensor) -> Tensor:
    """The probe moved by any number of pixels, exact for a band-limited wave with periodic boundaries.

    Args:
        probe: complex (n, n).
        shift_px: (..., 2) as [y, x] in object pixels.

    Returns:
        complex (..., n, n).
    """
    n = probe.shape[-1]
    frequency = (torch.arange(n, dtype=torch.float64, device=probe.device) - n // 2) / n
    cycles = shift_px[..., 0, None, None] * frequency[:, None] + shift_px[..., 1, None, None] * frequency
    ramp = torch.exp(-2j * math.pi * cycles)  # (..., n, n)
    return near_field(far_field(probe) * ramp)
