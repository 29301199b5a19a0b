"""Observed patterns: distorted spots, a background, a beam stop, counted electrons."""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from workflow_scripts.matching.settings import DiffractionSettings, ObservationSettings
from workflow_scripts.matching.simulation.kinematic import Simulator, render, shares
from workflow_scripts.matching.simulation.orientations import small_rotations

# Scattering of the amorphous part of a specimen, in 1/Å: the decay of its halo, two diffuse rings and their widths.
# Chosen to cover amorphous polymers, carbon and glasses, not measured on any of them.
_DECAY_PER_A = (0.08, 0.25)
_FIRST_RING_PER_A = (0.20, 0.35)
_SECOND_OVER_FIRST = (1.7, 2.1)
_RING_WIDTH_PER_A = (0.02, 0.05)
_STOP_OFFSET = 0.15  # standard deviation of the beam stop's position, share of its radius
BATCH = {"cpu": 64, "cuda": 4096}  # patterns at once, the size of a core's cache
_THICKNESS = 0.3  # largest deviation of the thickness, share, to either side
_DOMAINS = 4  # orientations over which a mosaic pattern is averaged
_WIRE = 0.3  # half the width of the wire, share of the stop's radius


@dataclass(frozen=True, eq=False)
class Recording:
    """How the spots of each of N patterns are recorded, and on which background; every field a tensor, float32.

    centre_px: (N, 2) [y, x], the unscattered beam's offset from the middle.
    ellipticity, ellipse_rad: (N,), radii grow by 1 + e along an axis at this angle from +x to +y, and shrink across.
    camera_length: (N,), factor of all radii.
    stop_px: (N,) radius of the beam stop, 0: none.
    stop_offset_px: (N, 2) [y, x] of the stop from the unscattered beam.
    wire_rad: (N,) direction of the wire from +x to +y.
    halo: (N,) share of the background in halo and rings.
    decay_per_a: (N,) length over which the halo falls to 1/e.
    ring_share: (N,) share of halo and rings that is in the rings.
    ring_per_a, ring_width_per_a: (N, 2), of the diffuse rings.
    """

    centre_px: Tensor
    ellipticity: Tensor
    ellipse_rad: Tensor
    camera_length: Tensor
    stop_px: Tensor
    stop_offset_px: Tensor
    wire_rad: Tensor
    halo: Tensor
    decay_per_a: Tensor
    ring_share: Tensor
    ring_per_a: Tensor
    ring_width_per_a: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """The observations of these patterns."""
        return type(self)(**{name: value[rows] for name, value in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Observation(Recording):
    """How each of N patterns is observed: the recording, and the crystal under the beam.

    rotations_relative: float64 (N, D, 3, 3), rotations of the domains from the pattern's orientation, in the lab.
    thickness_nm: float32 (N,).
    """

    rotations_relative: Tensor
    thickness_nm: Tensor


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected shares of N observed patterns.

    spots, background: float32 (N, n, n), each of sum 1 over the visible pixels, or 0 where there is nothing.
    """

    spots: Tensor
    background: Tensor


def draw(
    ranges: ObservationSettings, diffraction: DiffractionSettings, number: int, generator: torch.Generator
) -> Observation:
    """Observations, drawn independently.

    Args:
        ranges: largest distortions; at least half of the largest halo is drawn.
        diffraction: the illumination, whose thickness is varied.
        number: N.
        generator: the only source of randomness; its device is that of the result.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(number, *shape, generator=generator, device=generator.device)

    def normal(spread: float) -> Tensor:
        return spread * torch.randn(number, 2, generator=generator, device=generator.device)

    first = uniform(*_FIRST_RING_PER_A)
    return Observation(
        rotations_relative=small_rotations(
            (number, _DOMAINS), uniform(0, ranges.mosaic_deg)[:, None].double(), generator
        )
        if ranges.mosaic_deg > 0
        else torch.eye(3, dtype=torch.float64, device=generator.device).expand(number, 1, 3, 3),
        thickness_nm=diffraction.thickness_nm * uniform(1 - _THICKNESS, 1 + _THICKNESS),
        centre_px=normal(ranges.centre_px),
        ellipticity=uniform(0, ranges.ellipticity),
        ellipse_rad=uniform(0, math.pi),
        camera_length=uniform(1 - ranges.camera_length, 1 + ranges.camera_length),
        stop_px=uniform(ranges.beam_stop_px, ranges.beam_stop_px),
        stop_offset_px=normal(_STOP_OFFSET * ranges.beam_stop_px),
        wire_rad=uniform(0, 2 * math.pi),
        halo=uniform(ranges.halo / 2, ranges.halo),
        decay_per_a=uniform(*_DECAY_PER_A),
        ring_share=uniform(0.2, 0.7),
        ring_per_a=torch.stack([first, first * uniform(*_SECOND_OVER_FIRST)], dim=1),
        ring_width_per_a=uniform(*_RING_WIDTH_PER_A, 2),
    )


def in_session(own: Observation, session: Recording, variation: float) -> Observation:
    """Observations whose camera is that of their session but for a small variation.

    Args:
        own: N observations, drawn independently.
        session: those of the sessions of the N patterns; beam stop and direction of the ellipse do not vary within one.
        variation: share of the way from the session's centre, camera length and ellipticity to their own ones.
    """
    blended = {
        name: torch.lerp(getattr(session, name), getattr(own, name), variation)
        for name in ("centre_px", "camera_length", "ellipticity")
    }
    fixed = {name: getattr(session, name) for name in ("ellipse_rad", "stop_px", "wire_rad")}
    # The stop rests on the detector while the beam moves
    stop_px = session.stop_offset_px + session.centre_px - blended["centre_px"]
    return replace(own, **blended, **fixed, stop_offset_px=stop_px)


def expected(
    simulator: Simulator,
    rotations: Tensor,
    observation: Observation,
    second: Tensor | None = None,
    second_share: float = 0.5,
    damping_a2: float = 0.0,
) -> Expected:
    """The observed patterns of crystals in these orientations, before counting.

    The spots are the average over the mosaic's domains. They are moved by camera length, distortion and offset without
    changing their width. The background is flat but for a halo exp(−|k| / decay) and two Gaussian rings, distorted as
    the spots are.

    Args:
        simulator: of the crystal, kinematic or dynamical.
        rotations: (N, 3, 3).
        observation: N observations.
        second: (N, 3, 3) orientations of a second crystal under the beam.
        second_share: its share of the spots' intensity.
        damping_a2: B of intensities exp(−B |g|² / 2), the further disorder of a damaged crystal.
    """
    diffraction = simulator.diffraction

    def spots_of(rotations: Tensor, part: Observation) -> Tensor:
        spots = spots_px(simulator, rotations, part, damping_a2)
        return shares(render(*spots, diffraction.side_px, diffraction.spot_px))

    parts = []
    for rows in torch.arange(len(rotations)).split(BATCH[simulator.device.type]):
        part = observation[rows]
        spots = spots_of(rotations[rows], part)
        if second is not None:
            spots = (1 - second_share) * spots + second_share * spots_of(second[rows], part)
        parts.append(vars(recorded(diffraction, spots, part)).values())
    return Expected(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def recorded(diffraction: DiffractionSettings, spots: Tensor, recording: Recording) -> Expected:
    """Shares of N patterns of spots (N, n, n) outside the beam stop, and the background there."""
    visible = visible_pixels(diffraction, recording).to(spots.device)
    background = _background(diffraction, recording).to(spots.device)
    return Expected(shares(spots * visible), shares(background * visible))


def counts(spots: Tensor, background: Tensor, dose_e: float, background_e: float, generator: torch.Generator) -> Tensor:
    """Electrons counted in each pixel: Poisson(dose · spots + background_e · background).

    Args:
        spots, background: (N, n, n) expected shares.
        dose_e: expected electrons in the spots.
        background_e: expected electrons in the background.
        generator: the only source of randomness, on the device of the patterns.

    Returns:
        float32 (N, n, n), whole numbers.
    """
    return torch.poisson(dose_e * spots + background_e * background, generator=generator)


def visible_pixels(diffraction: DiffractionSettings, observation: Recording) -> Tensor:
    """bool (N, n, n): the pixels whose middle neither beam stop nor wire hides."""
    axis = torch.arange(diffraction.side_px, device=observation.stop_px.device) - diffraction.centre_px
    place = observation.centre_px + observation.stop_offset_px
    y, x = axis[:, None] - place[:, 0, None, None], axis - place[:, 1, None, None]
    sine, cosine = observation.wire_rad.sin()[:, None, None], observation.wire_rad.cos()[:, None, None]
    stop = observation.stop_px[:, None, None]
    along, across = cosine * x + sine * y, cosine * y - sine * x
    hidden = (x.square() + y.square() < stop.square()) | ((along > 0) & (across.abs() < _WIRE * stop))
    return ~hidden


def stretch(observation: Recording) -> Tensor:
    """(N, 2, 2) matrices on [y, x] in pixels: camera length and ellipse."""
    sine, cosine = observation.ellipse_rad.sin(), observation.ellipse_rad.cos()
    axis = torch.stack([sine, cosine], dim=1)  # [y, x]
    projector = axis[:, :, None] * axis[:, None, :]
    longer = (1 + observation.ellipticity)[:, None, None]
    identity = torch.eye(2, device=axis.device)
    return observation.camera_length[:, None, None] * (longer * projector + (identity - projector) / longer)


def spots_px(
    simulator: Simulator, rotations: Tensor, observation: Observation, damping_a2: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Positions (N, K, 2) [y, x] on the detector, px, and intensities (N, K) of the spots of one batch."""
    domains = observation.rotations_relative @ rotations.to(observation.rotations_relative)[:, None]
    spots = simulator.spots(domains, observation.thickness_nm)
    intensity = spots.intensity * (-damping_a2 / 2 * spots.position_per_a.square().sum(dim=-1)).exp()
    position = spots.position_per_a / simulator.diffraction.pixel_size_per_a
    position = position @ stretch(observation).to(position).mT + observation.centre_px.to(position)[:, None]
    return position + simulator.diffraction.centre_px, intensity


def _background(diffraction: DiffractionSettings, observation: Recording) -> Tensor:
    axis = torch.arange(diffraction.side_px, device=observation.stop_px.device) - diffraction.centre_px
    y, x = (axis - observation.centre_px[:, i, None] for i in (0, 1))  # (N, n)
    back = torch.linalg.inv_ex(stretch(observation)).inverse  # (N, 2, 2); inv waits for a GPU
    square = back.mT @ back
    # |back @ offset|² without the offsets of all pixels
    squared = (square[:, 0, 0, None] * y.square())[:, :, None] + (square[:, 1, 1, None] * x.square())[:, None]
    squared = squared + 2 * square[:, 0, 1, None, None] * y[:, :, None] * x[:, None]
    radius = squared.clamp_min(0).sqrt().flatten(1) * diffraction.pixel_size_per_a
    halo = (-radius / observation.decay_per_a[:, None]).exp()
    rings = sum(
        weight * (-((radius - middle[:, None]) / width[:, None]).square() / 2).exp()
        for weight, middle, width in zip(
            (0.75, 0.25), observation.ring_per_a.T, observation.ring_width_per_a.T, strict=True
        )
    )
    share = observation.ring_share[:, None]
    mixed = (1 - share) * halo / halo.sum(dim=1, keepdim=True)
    mixed = mixed + share * rings / rings.sum(dim=1, keepdim=True).clamp_min(1e-12)
    share = observation.halo[:, None]
    mixed = share * mixed / mixed.sum(dim=1, keepdim=True) + (1 - share) / radius.shape[1]
    return mixed.reshape(-1, diffraction.side_px, diffraction.side_px)
