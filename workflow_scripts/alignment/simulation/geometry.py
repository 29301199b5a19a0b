"""Rotation, translation and polar resampling of images: the conventions of the whole method.

Images are (N, n, n) with axes [y, x]; the centre of rotation is pixel [n//2, n//2], for even and odd n. A positive
angle rotates from +x towards +y: clockwise on a screen with y downwards. The pose of a particle is ``angle_deg`` in [0,
360) and ``shift_px`` (N, 2) [y, x]:

    observed = shift(rotate(reference, angle_deg), shift_px)        aligned = rotate(shift(observed, -shift), -angle)

A power spectrum rotates with its image, is invariant to shifts and symmetric under 180°, so it determines the angle
only mod 180. The relative angle of a pair (A, B) is angle(A) − angle(B).

Images are treated as periodic and band-limited. Rotation and translation multiply spectra by phases; both are exact for
whatever stays within the inscribed circle, in the image and in its spectrum: they do not blur, and white noise stays
white.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from workflow_scripts.learning.transfers import to_device

_OVERSAMPLING = 4  # samples per period of the image; the power, of an autocorrelation 2n wide, needs 2 at least
_MARGIN = 3  # samples of the fine spectrum beyond the outermost ring and across its diameter, for the interpolation


def shift(images: Tensor, shift_px: Tensor) -> Tensor:
    """Translate images by whole or fractional pixels, with periodic boundaries.

    Args:
        images: (N, n, n).
        shift_px: (N, 2) or (2,) [y, x].

    Returns:
        (N, n, n). Whole shifts are exact; at fractional ones an even n loses the sine at the Nyquist frequency.
    """
    n = images.shape[-1]
    y, x = shift_px.to(images)[..., None, None].unbind(-3)  # (N, 1, 1) or (1, 1)
    rows = torch.fft.fftfreq(n, device=images.device)[:, None]
    columns = torch.fft.rfftfreq(n, device=images.device)
    phase = -2 * math.pi * (rows * y + columns * x)  # (N, n, n//2 + 1)
    return torch.fft.irfft2(torch.fft.rfft2(images) * torch.polar(torch.ones_like(phase), phase), s=(n, n))


def rotate(images: Tensor, angle_deg: Tensor) -> Tensor:
    """Rotate images about [n//2, n//2] by +angle, from +x towards +y.

    Multiples of 90° rearrange pixels; the remaining angle, within ±45°, is three shears along rows and columns, each a
    product with phases (doi:10.1109/83.469963, doi:10.1016/S0030-4018(97)00066-1). Exact for a band-limited image
    within 0.92 of the radius of the inscribed circle, in real space and in the spectrum; the corners wrap around.

    Args:
        images: (N, n, n).
        angle_deg: (N,).

    Returns:
        (N, n, n).
    """
    angle_deg = angle_deg.to(images)
    quarters = torch.round(angle_deg / 90)
    rotated = _quarter_turns(images, quarters.long() % 4)
    remaining = torch.deg2rad(angle_deg - 90 * quarters)
    along_x, along_y = -torch.tan(remaining / 2), torch.sin(remaining)
    rotated = _shear_rows(rotated, along_x)
    rotated = _shear_rows(rotated.transpose(1, 2), along_y).transpose(1, 2)
    return _shear_rows(rotated, along_x)


def move(images: Tensor, angle_deg: Tensor, shift_px: Tensor) -> Tensor:
    """References (N, n, n) as observed at poses ``angle_deg`` (N,), ``shift_px`` (N, 2)."""
    return shift(rotate(images, angle_deg), shift_px)


def align(images: Tensor, angle_deg: Tensor, shift_px: Tensor) -> Tensor:
    """Undo the poses of observed images (N, n, n): the inverse of ``move``."""
    return rotate(shift(images, -shift_px), -angle_deg)


def turned(shift_px: Tensor, angle_deg: Tensor) -> Tensor:
    """Vectors (N, 2) [y, x] rotated by angles (N,)."""
    angle, (y, x) = torch.deg2rad(angle_deg), shift_px.unbind(-1)
    return torch.stack([angle.sin() * x + angle.cos() * y, angle.cos() * x - angle.sin() * y], dim=-1)


def polar_power_spectra(images: Tensor, rings: Tensor, angles: int = 180) -> Tensor:
    """|F|² of images on rings, over half a turn.

    The power of a spectrum sampled four times as finely as the discrete one is interpolated linearly. Rotating an image
    by +a shifts its rows along the angle by a · angles / 180 samples.

    Args:
        images: (N, n, n); the mean is not subtracted.
        rings: (R,) radii in periods per image, R ≥ 1, each below n/2; on the CPU, no GPU is waited for.
        angles: samples of [0, 180), from +x towards +y.

    Returns:
        (N, R, angles), power.

    Raises:
        ValueError: a ring lies outside the spectrum.
    """
    n = images.shape[-1]
    if not (float(rings.min()) > 0 and float(rings.max()) < n / 2):
        raise ValueError(f"rings must lie between 0 and n/2 = {n / 2}, not at {rings.tolist()}")
    outermost = _OVERSAMPLING * math.ceil(float(rings.max())) + _MARGIN
    frequencies = torch.arange(-outermost, outermost + 1, device=images.device) / _OVERSAMPLING
    pixels = torch.arange(n, device=images.device) - n // 2
    phase = -2 * math.pi / n * frequencies[:, None] * pixels
    waves = torch.polar(torch.ones_like(phase), phase).to(torch.promote_types(images.dtype, torch.complex64))
    # Half the rows suffice, F(-k) = F(k)*; a few more let the interpolation cross to the other side.
    upper = waves[outermost - _MARGIN :]
    spectra = upper @ (images.to(waves.dtype) @ waves.T)  # (N, outermost + margin + 1, 2 outermost + 1)
    power = spectra.real.square() + spectra.imag.square()
    theta = torch.arange(angles, device=images.device) * (math.pi / angles)
    radius = _OVERSAMPLING * to_device(rings.to(images.dtype), images.device)[:, None]
    column = radius * torch.cos(theta) / outermost
    row = (radius * torch.sin(theta) + _MARGIN) / (len(upper) - 1) * 2 - 1
    grid = torch.stack([column, row], dim=-1).expand(len(images), -1, -1, -1)  # (N, R, angles, 2)
    return grid_sample(power[:, None], grid, align_corners=True)[:, 0]


def resized_spectra(spectra: Tensor, m: int) -> Tensor:
    """Spectra (N, n, n//2 + 1) about the centre, cropped or padded with zeros to those of m × m pixels.

    The Nyquist frequency of an even box is left out; the values are not rescaled.
    """
    n = spectra.shape[1]
    if n == m:
        return spectra
    common = (min(n, m) - 1) // 2
    resized = spectra.new_zeros(len(spectra), m, m // 2 + 1)
    resized[:, : common + 1, : common + 1] = spectra[:, : common + 1, : common + 1]
    resized[:, m - common :, : common + 1] = spectra[:, n - common :, : common + 1]
    return resized


def half_plane_weights(n: int, device: torch.device) -> Tensor:
    """Number of columns of the full Fourier plane, 1 or 2, represented by each column (n//2 + 1,) of a half plane."""
    weights = torch.full((n // 2 + 1,), 2.0, device=device)
    weights[0].fill_(1)
    if n % 2 == 0:
        weights[-1].fill_(1)
    return weights


def angular_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Circular correlation along the angle, summed over the rings.

    Args:
        first, second: (N, R, angles); one of the two may be (1, R, angles).

    Returns:
        (N, angles): Σ_θ first(θ + d) second(θ) at index d.
    """
    angles = first.shape[-1]
    cross = (torch.fft.rfft(first) * torch.fft.rfft(second).conj()).sum(dim=-2)
    return torch.fft.irfft(cross, n=angles)


def peak(curves: Tensor) -> tuple[Tensor, Tensor]:
    """Position, in samples [0, L), and height of the maximum of periodic curves (N, L), refined by a parabola."""
    length = curves.shape[-1]
    best = curves.argmax(dim=-1)  # (N,)
    around = torch.stack([best - 1, best, best + 1], dim=-1) % length
    below, top, above = curves.gather(-1, around).unbind(-1)
    offset, gain = _parabola(below, top, above)
    position = (best + offset) % length
    # Tiny negative positions round to the full length.
    return torch.where(position >= length, torch.zeros_like(position), position), top + gain


def peak_2d(surfaces: Tensor, shift_limit: float) -> tuple[Tensor, Tensor]:
    """Position (N, 2) [y, x], in samples, and height (N,) of the maximum of periodic surfaces (N, h, w).

    Positions are signed, refined by a parabola along each axis, and limited to |y| and |x| ≤ ``shift_limit``.
    """
    count, height, width = surfaces.shape
    near = [_signed(torch.arange(side, device=surfaces.device), side).abs() <= shift_limit for side in (height, width)]
    sought = surfaces.masked_fill(~(near[0][:, None] & near[1]), -math.inf)
    best = sought.flatten(1).argmax(dim=1)
    row, column = best // width, best % width
    step = torch.arange(-1, 2, device=surfaces.device)
    index = torch.arange(count, device=surfaces.device)[:, None]
    down = surfaces[index, (row[:, None] + step) % height, column[:, None]]  # (N, 3)
    across = surfaces[index, row[:, None], (column[:, None] + step) % width]
    offset_y, gain_y = _parabola(*down.unbind(-1))
    offset_x, gain_x = _parabola(*across.unbind(-1))
    position = torch.stack([_signed(row, height) + offset_y, _signed(column, width) + offset_x], dim=-1)
    return position, down[:, 1] + gain_y + gain_x


def _parabola(below: Tensor, top: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """Offset of the vertex from the middle sample, within ±1/2, and its height above that sample."""
    bend = (2 * top - below - above).clamp_min(torch.finfo(top.dtype).tiny)
    offset = ((above - below) / (2 * bend)).clamp(-0.5, 0.5)
    return offset, (above - below) * offset / 4


def _signed(index: Tensor, length: int) -> Tensor:
    return torch.where(index >= (length + 1) // 2, index - length, index)


def _quarter_turns(images: Tensor, quarters: Tensor) -> Tensor:
    """Images (N, n, n) rotated by 90° · quarters (N,) in 0 … 3."""
    rotated = images
    for count, flipped in ((1, (2,)), (2, (1, 2)), (3, (1,))):
        about_middle = torch.rot90(images, -count, (1, 2))
        # The centre n//2 of an even box is half a pixel off its middle.
        turned = about_middle.roll([1 - images.shape[-1] % 2] * len(flipped), flipped)
        rotated = torch.where((quarters == count)[:, None, None], turned, rotated)
    return rotated


def _shear_rows(images: Tensor, slope: Tensor) -> Tensor:
    """Shift row y of each image (N, n, n) by slope (N,) · (y − n//2) pixels along x."""
    n = images.shape[-1]
    rows = torch.arange(n, device=images.device) - n // 2
    move_px = slope[:, None] * rows  # (N, n)
    phase = (-2 * math.pi) * move_px[..., None] * torch.fft.rfftfreq(n, device=images.device)
    factor = torch.polar(torch.ones_like(phase), phase)
    return torch.fft.irfft(torch.fft.rfft(images) * factor, n=n)
