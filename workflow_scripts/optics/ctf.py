"""The contrast transfer function of cryo-EM images, one per particle.

CTF(k) = sin(χ(k)) exp(−B k² / 4) with

    χ(k) = π λ Δf(θ) k² − (π/2) Cs λ³ k⁴ + φ + arcsin(A),

where Δf > 0 is underfocus, A the amplitude contrast and φ the phase shift of a phase plate: CTFFIND's phase
(doi:10.1016/S1047-8477(03)00069-8, doi:10.1016/j.jsb.2015.08.008), and the B factor as an envelope of amplitudes
(doi:10.1016/j.jmb.2003.07.013). The sign is RELION's: CTF(0) = A ≥ 0, so that an image with bright
density keeps bright density at low resolution. CTFFIND's own −sin(χ) is for micrographs with dark density.
"""

import math

import torch
from torch import Tensor

from workflow_scripts.optics.waves import wavelength_a

Parameter = float | Tensor


def ctf(n: int, pixel_size_a: float, defocus_u_a: Parameter, **parameters: Parameter | None) -> Tensor:
    """The CTF on the half plane of `torch.fft.rfft2`, the factor of a particle's spectrum.

    Args:
        n: pixels along each side of the box.
        pixel_size_a: Å.
        defocus_u_a: as in `ctf_at`; the CTF is on its device.
        parameters: the others of `ctf_at`.

    Returns:
        float32 (N, n, n // 2 + 1); N = 1 where all parameters are numbers.

    Raises:
        ValueError: n or the pixel size is not positive, or a parameter is out of range.
    """
    if not (n > 0 and pixel_size_a > 0):
        raise ValueError(f"n and pixel_size_a must be positive, not {n} and {pixel_size_a}")
    device = defocus_u_a.device if isinstance(defocus_u_a, Tensor) else None
    rows = torch.fft.fftfreq(n, d=pixel_size_a, dtype=torch.float64, device=device)
    columns = torch.fft.rfftfreq(n, d=pixel_size_a, dtype=torch.float64, device=device)
    return ctf_at(columns[None, :], rows[:, None], defocus_u_a, **parameters)


def ctf_at(
    frequency_x_per_a: Tensor,
    frequency_y_per_a: Tensor,
    defocus_u_a: Parameter,
    defocus_v_a: Parameter | None = None,
    defocus_angle_deg: Parameter = 0.0,
    *,
    voltage_kv: Parameter,
    cs_mm: Parameter,
    amplitude_contrast: Parameter,
    b_factor_a2: Parameter = 0.0,
    phase_shift_deg: Parameter = 0.0,
) -> Tensor:
    """The CTF at any spatial frequencies.

    Every parameter is one number for all particles or a tensor (N,).

    Args:
        frequency_x_per_a, frequency_y_per_a: 1/Å; shapes that broadcast to S.
        defocus_u_a: defocus in Å along the axis at `defocus_angle_deg`, positive is underfocus.
        defocus_v_a: defocus in Å across that axis; None where there is no astigmatism.
        defocus_angle_deg: from +x (columns) towards +y (rows), as RELION counts rlnDefocusAngle.
        voltage_kv: kV.
        cs_mm: spherical aberration in mm.
        amplitude_contrast: share of the amplitude contrast, 0 to 1.
        b_factor_a2: B in Å²; positive damps.
        phase_shift_deg: of a phase plate.

    Returns:
        float32 (N, *S).

    Raises:
        ValueError: a voltage is not positive, an amplitude contrast is outside 0 to 1, or the parameters are of
            different lengths.
    """
    device = frequency_x_per_a.device
    squared = (frequency_x_per_a.square() + frequency_y_per_a.square()).double()  # (*S)
    angle_rad = torch.atan2(*torch.broadcast_tensors(frequency_y_per_a, frequency_x_per_a)).double()

    def per_particle(value: Parameter) -> Tensor:
        tensor = torch.as_tensor(value, dtype=torch.float64)
        if tensor.ndim > 1:
            raise ValueError(f"a parameter of the CTF has the shape {tuple(tensor.shape)}, expected a number or (N,)")
        # A number stays on the CPU: to copy and to check it there waits for no GPU
        return tensor.to(device).reshape(-1, *[1] * squared.ndim) if tensor.ndim else tensor  # (N, 1, …) or ()

    voltages = per_particle(voltage_kv)
    values, index = voltages.unique(return_inverse=True)
    wavelengths = torch.tensor([wavelength_a(v) for v in values.tolist()], dtype=torch.float64).to(values.device)[index]
    contrast = per_particle(amplitude_contrast)
    if not bool(((contrast >= 0) & (contrast <= 1)).all()):
        raise ValueError("amplitude_contrast must lie between 0 and 1")
    u_a = per_particle(defocus_u_a)
    v_a = u_a if defocus_v_a is None else per_particle(defocus_v_a)
    sizes = {p.numel() for p in (voltages, contrast, u_a, v_a)} | {
        per_particle(p).numel() for p in (defocus_angle_deg, cs_mm, b_factor_a2, phase_shift_deg)
    }
    if len(sizes - {1}) > 1:
        raise ValueError(f"the parameters of the CTF are for {sorted(sizes - {1})} particles, expected one number N")

    axis_rad = torch.deg2rad(per_particle(defocus_angle_deg))
    defocus_a = (u_a + v_a) / 2 + (u_a - v_a) / 2 * torch.cos(2 * (angle_rad - axis_rad))  # (N, *S)
    constant = torch.deg2rad(per_particle(phase_shift_deg)) + torch.asin(contrast)
    fourth = (math.pi / 2) * (per_particle(cs_mm) * 1e7) * wavelengths**3
    chi = squared * (math.pi * wavelengths * defocus_a - fourth * squared) + constant
    # The phase reaches hundreds of rad, of which float32 would keep only four decimals.
    transfer = (torch.sin(chi) * torch.exp(-per_particle(b_factor_a2) / 4 * squared)).float()
    return transfer.reshape(-1, *squared.shape)
