"""Flat fields of a full-field X-ray microscope: contributions of the instrument and of a session, and their drift.

The detector (scintillator grain, rings, scratches, dust, a dark corner) stays from session to session and does not
move. The illumination (condenser shading, capillary streaks, speckle, an edge) drifts against it during a session. It
changes only in part from session to session: `persistence` is the correlation of a part between two sessions.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

EDGE_SHARE = 0.2  # fraction of microscopes in which an edge of the illumination is in the field of view
MARGIN = 0.125  # by which the illumination extends beyond the detector, as a fraction of the side: room to drift


@dataclass(frozen=True)
class Session:
    """One session of one microscope.

    Attributes:
        log_detector: (H, W) ln of the fixed part: grain, rings, scratches, dust, dark corner.
        log_illumination: (H', W') ln of the illumination, wider than the detector by a margin on each side.
        log_change: (H, W) slow change of the shading over the whole session.
        drift_px: (2,) displacement [y, x] of the illumination over the whole session, px.
    """

    log_detector: Tensor
    log_illumination: Tensor
    log_change: Tensor
    drift_px: Tensor


def draw_detector(side_px: int, generator: torch.Generator, severity: float = 1.0) -> Tensor:
    """ln of the detector's contribution (side, side); severity multiplies every contrast, 1 in training."""
    y, x = pixel_grid(side_px, generator.device)
    total = between(generator, 0.002, 0.015) * _noise(side_px, 0.6, generator)  # scintillator grain
    total += between(generator, 0.0, 0.015) * _noise(side_px, 2.0, generator)
    centre_y, centre_x = between(generator, 0.2, 0.8), between(generator, 0.2, 0.8)
    radius = torch.hypot(y - centre_y, x - centre_x)
    phase, period = between(generator, 0, 2 * math.pi), between(generator, 0.04, 0.15)
    total += between(generator, 0.0, 0.015) * torch.cos(2 * math.pi * radius / period + phase)
    for _ in range(int(between(generator, 0, 5))):  # scratches
        distance, along = _line(y, x, generator)
        width = between(generator, 0.4, 1.0) / side_px
        ends = torch.sigmoid((between(generator, 0.1, 0.6) - along.abs()) * 40)
        total -= between(generator, 0.02, 0.15) * ends * torch.exp(-0.5 * (distance / width) ** 2)
    for _ in range(int(between(generator, 0, 10))):  # dust
        away = torch.hypot(y - between(generator, 0, 1), x - between(generator, 0, 1))
        total -= between(generator, 0.03, 0.3) * torch.sigmoid((between(generator, 0.005, 0.03) - away) * 2 * side_px)
    corner = (1 - y if between(generator, 0, 1) < 0.5 else y) + (1 - x if between(generator, 0, 1) < 0.5 else x)
    dark = torch.sigmoid((between(generator, -0.1, 0.12) - corner) * side_px)
    return severity * (total - between(generator, 0.3, 1.5) * dark)


def draw_illumination(side_px: int, generator: torch.Generator) -> Tensor:
    """ln of an illumination (3, H', W'): shading, structure (streaks, speckle, filaments), edge of the lit field."""
    margin_px = round(MARGIN * side_px)
    wide_px = side_px + 2 * margin_px
    y, x = pixel_grid(side_px, generator.device, margin_px)
    shading = _shading(y, x, generator)
    streaks = torch.zeros_like(y)
    strongest = math.exp(between(generator, math.log(0.03), math.log(0.3)))
    for _ in range(int(between(generator, 2, 9))):  # capillary streaks
        distance, along = _line(y, x, generator)
        distance = distance - between(generator, -0.3, 0.3) * along**2
        width = math.exp(between(generator, math.log(0.008), math.log(0.1)))
        streaks += between(generator, -0.5, 1.0) * strongest * torch.exp(-0.5 * (distance / width) ** 2)
    speckle = sum(
        math.exp(between(generator, math.log(0.004), math.log(0.05))) * _noise(wide_px, scale * side_px, generator)
        for scale in (0.02, 0.04, 0.08)
    )
    # Bright filaments at the zero crossings of smooth noise, like caustics and images of the capillary's walls
    ridges = torch.exp(-((_noise(wide_px, between(generator, 0.04, 0.2) * side_px, generator) / 0.15) ** 2))
    speckle = speckle + between(generator, 0.0, 0.1) * ridges
    edge = _edge(y, x, generator) if between(generator, 0, 1) < EDGE_SHARE else torch.zeros_like(y)
    return torch.stack([shading, streaks + speckle, edge])


def draw_session(
    log_detector: Tensor, lasting: Tensor, persistence: tuple[float, float], generator: torch.Generator, severity: float
) -> Session:
    """A session of a microscope, with an illumination that is new in part, and drift.

    Args:
        log_detector: (H, W).
        lasting: ln of the microscope's own illumination (3, H', W'), from `draw_illumination`.
        persistence: correlation of the shading, and of the structure, between two sessions; the edge stays.
        generator: of the session.
        severity: multiplies every contrast of the illumination and its change; 1 in training.
    """
    side_px = log_detector.shape[-1]
    kept = torch.tensor([*persistence, 1.0], device=generator.device)[:, None, None]
    # Independent parts with these weights keep the variance of either, and correlate by `kept`
    illumination = (kept.sqrt() * lasting + (1 - kept).sqrt() * draw_illumination(side_px, generator)).sum(dim=0)
    log_change = between(generator, 0.0, 0.1) * _shading(*pixel_grid(side_px, generator.device), generator)
    angle, way_px = between(generator, 0, 2 * math.pi), between(generator, 0.0, 1.5) * side_px / 64
    drift_px = way_px * torch.tensor([math.sin(angle), math.cos(angle)], device=generator.device)
    return Session(log_detector, severity * illumination, severity * log_change, drift_px)


def log_flats(session: Session, times: Tensor) -> Tensor:
    """ln of the flat field (J, H, W) at times (J,), from 0 (start of the session) to 1 (end); at 0 its mean is 0."""
    side_px = session.log_detector.shape[-1]
    wide_px = session.log_illumination.shape[-1]
    moments = torch.cat([torch.zeros_like(times[:1]), times])
    pixels = torch.arange(side_px, device=times.device) + (wide_px - side_px) / 2
    rows, columns = (_interpolation(pixels + moments[:, None] * way_px, wide_px) for way_px in session.drift_px)
    light = rows @ session.log_illumination @ columns.mT
    flats = light + session.log_detector + moments[:, None, None] * session.log_change
    return flats[1:] - flats[0].mean()


def _interpolation(places: Tensor, size: int) -> Tensor:
    """Weights (J, H, size) that interpolate a line of samples at positions (J, H): Catmull and Rom's cubic.

    Keys (doi:10.1109/TASSP.1981.1163711), eq. 15 with a = −1/2, is exact for parabolas; a = −3/4 as in grid_sample is
    not exact even for a ramp. Positions beyond the line are clamped.
    """
    away = (places.clamp(1, size - 2)[..., None] - torch.arange(size, device=places.device)).abs()
    near, far = (1.5 * away - 2.5) * away**2 + 1, ((2.5 - 0.5 * away) * away - 4) * away + 2
    return torch.where(away < 1, near, torch.where(away < 2, far, 0.0))


def _shading(y: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Broad shading with the shape of y and x: a tilt and a few wide spots."""
    total = between(generator, -0.35, 0.35) * (y - 0.5) + between(generator, -0.35, 0.35) * (x - 0.5)
    for _ in range(4):
        away2 = (y - between(generator, -0.2, 1.2)) ** 2 + (x - between(generator, -0.2, 1.2)) ** 2
        total = total + between(generator, -0.35, 0.35) * torch.exp(-0.5 * away2 / between(generator, 0.15, 0.5) ** 2)
    return total


def _edge(y: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """The illuminated field ends softly near the border, with a faint halo beyond it."""
    total = torch.zeros_like(y)
    for away in (y, 1 - y, x, 1 - x):
        if between(generator, 0, 1) < 0.5:
            lit = torch.sigmoid((away - between(generator, 0.0, 0.15)) / between(generator, 0.01, 0.05))
            total = torch.minimum(total, torch.log(1 - between(generator, 0.3, 0.85) * (1 - lit)))
    return total


def _noise(side_px: int, scale_px: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise (side, side) of unit variance, smooth over scale_px (standard deviation of the filter)."""
    white = torch.randn(side_px, side_px, generator=generator, device=generator.device)
    frequency = torch.fft.fftfreq(side_px, device=generator.device)
    damping = torch.exp(-2 * (math.pi * scale_px) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    smooth = torch.fft.ifft2(torch.fft.fft2(white) * damping).real
    return (smooth - smooth.mean()) / smooth.std().clamp(min=1e-6)


def _line(y: Tensor, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Distance from a random line through the field of view, and position along it, in units of the side."""
    angle = between(generator, 0, math.pi)
    dy, dx = y - between(generator, 0, 1), x - between(generator, 0, 1)
    return math.cos(angle) * dy - math.sin(angle) * dx, math.cos(angle) * dx + math.sin(angle) * dy


def pixel_grid(side_px: int, device: torch.device, margin_px: int = 0) -> tuple[Tensor, Tensor]:
    """Coordinates y, x of the pixel centres in units of the side, with a margin around the field of view."""
    line = (torch.arange(side_px + 2 * margin_px, device=device) - margin_px + 0.5) / side_px
    return torch.meshgrid(line, line, indexing="ij")


def between(generator: torch.Generator, low: float, high: float) -> float:
    """A uniform random number."""
    return low + (high - low) * torch.rand((), generator=generator, device=generator.device).item()
