"""Kinematic diffraction patterns of a crystal in many orientations at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.crystals import Crystal
from workflow_scripts.matching.simulation.structure_factors import structure_factors
from workflow_scripts.optics.waves import ELECTRON_REST_ENERGY_EV, wavelength_a

_BATCH = 2**22  # orientations times reflections at once
_RENDERED = {"cpu": 32, "cuda": 2048}  # patterns at once, the size of a core's cache
# A spot is left out where even the envelope 1 / (π s t)² of its rocking curve stays below this share of the strongest
# reflection at its Bragg condition, or where it is below this share of the strongest spot of its own pattern.
_WEAKEST_ANYWHERE, _WEAKEST = 1e-6, 3e-4


@dataclass(frozen=True, eq=False)
class Spots:
    """Spots of N patterns, K each; patterns with fewer are padded with spots of intensity 0.

    position_per_a: float32 (N, K, 2), [y, x] of the transverse wave vector in 1/Å, 0 at the unscattered beam.
    intensity: float32 (N, K), shares of the incident beam.
    """

    position_per_a: Tensor
    intensity: Tensor


class Simulator:
    """Patterns of one crystal under one illumination.

    The intensity of a reflection is that of a parallel plate (De Graef, Introduction to Conventional Transmission
    Electron Microscopy, doi:10.1017/CBO9780511615092): kinematic

        I = (π t / ξ)² sinc²(s t),  ξ = π V / (λ γ |F|),  sinc(x) = sin(πx) / (πx),

    with the thickness t, the excitation error s and the extinction distance ξ. The excitation error is that along the
    beam to the Ewald sphere of radius 1/λ; a spot lies where the transverse part of g meets the detector.
    """

    def __init__(self, crystal: Crystal, diffraction: DiffractionSettings, device: torch.device | str = "cpu") -> None:
        """
        Raises:
            ValueError: a detector pixel or the voltage is out of range, or no reflection falls on the detector.
        """
        self.crystal = crystal
        self.diffraction = diffraction
        reflections = structure_factors(crystal, min(diffraction.largest_per_a, 12.0)).present()
        self.device = torch.device(device)
        self.wavelength_a = wavelength_a(diffraction.voltage_kv)
        amplitude = reflections.structure_factor_a.abs()
        self.hkl = reflections.hkl.to(self.device)
        self.g_per_a = reflections.g_per_a.to(self.device, torch.float32)  # (G, 3)
        self.g_squared = self.g_per_a.square().sum(dim=1)
        inverse = inverse_extinction_per_a(amplitude, reflections.volume_a3, diffraction.voltage_kv)
        self.inverse_extinction_per_a = inverse.to(self.device, torch.float32)  # (G,)

    def excitation_error_per_a(self, along_beam: Tensor, squared: Tensor) -> Tensor:
        """s in 1/Å of reflections with g_z = along_beam and |g|² = squared, positive inside the Ewald sphere.

        The wave vector (0, 0, 1/λ) + g + s z has the length 1/λ; exact, in a form without cancellation of digits.
        """
        across = squared - along_beam.square()
        # √(k² − a) − k = −a / (√(k² − a) + k)
        k = 1 / self.wavelength_a
        return -across / ((k * k - across).clamp_min(0).sqrt() + k) - along_beam

    def spots(self, rotations: Tensor, thickness_nm: Tensor | None = None) -> Spots:
        """The excited reflections.

        Args:
            rotations: orientations (N, 3, 3), lab = R @ crystal, or (N, D, 3, 3) of D domains that share a pattern.
            thickness_nm: (N,), by default that of the illumination.

        Returns:
            the spots, on the simulator's device, those of no intensity last; intensities are means over the domains.
        """
        domains = rotations.shape[1] if rotations.ndim == 4 else 1
        rotations = rotations.to(self.device, torch.float32).reshape(-1, domains, 3, 3)
        if thickness_nm is None:
            thickness_nm = torch.full((len(rotations),), self.diffraction.thickness_nm)
        thickness_a = 10 * thickness_nm.to(self.device, torch.float32)
        size = max(1, _BATCH // (domains * len(self.g_per_a)))
        batches = zip(rotations.split(size), thickness_a.split(size), strict=True)
        excited = [self._excited(rotation, thickness) for rotation, thickness in batches]
        counts, position_per_a, intensity = (torch.cat(tensors) for tensors in zip(*excited, strict=True))
        most = max(1, int(counts.max()))
        pattern = torch.arange(len(counts), device=self.device).repeat_interleave(counts)
        first = counts.cumsum(0) - counts
        place = pattern * most + torch.arange(len(pattern), device=self.device) - first[pattern]
        positions = torch.zeros(len(counts) * most, 2, device=self.device)
        positions[place] = position_per_a
        intensities = torch.zeros(len(counts) * most, device=self.device)
        intensities[place] = intensity
        return Spots(positions.reshape(-1, most, 2), intensities.reshape(-1, most))

    def _excited(self, rotations: Tensor, thickness_a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spots in each pattern (N,), then positions (M, 2) and intensities (M,) of all spots, pattern by pattern."""
        number, domains = rotations.shape[:2]
        rotations = rotations.flatten(0, 1)
        along = rotations[:, 2] @ self.g_per_a.T  # (N D, G)
        # Of all reflections the few near the sphere; s to first order is enough to select them.
        strength = self.inverse_extinction_per_a / self.inverse_extinction_per_a.max()
        reach = strength / (math.pi * math.sqrt(_WEAKEST_ANYWHERE)) / thickness_a.min()
        orientation, reflection = ((along + self.wavelength_a / 2 * self.g_squared).abs() < reach).nonzero(
            as_tuple=True
        )
        s = self.excitation_error_per_a(along[orientation, reflection], self.g_squared[reflection])
        inverse = self.inverse_extinction_per_a[reflection]
        pattern = orientation.div(domains, rounding_mode="floor")
        thickness = thickness_a[pattern]
        plate = (math.pi * thickness * torch.sinc(s * thickness)).square()  # sin²(π s t) / s², Å²
        intensity = inverse.square() * plate / domains
        strongest = torch.zeros(number, device=self.device).scatter_reduce_(0, pattern, intensity, "amax")
        visible = intensity > _WEAKEST * strongest[pattern]
        g = self.g_per_a[reflection[visible]]  # (M, 3)
        yx = torch.stack([rotations[orientation[visible], axis].mul(g).sum(dim=1) for axis in (1, 0)], dim=1)
        return pattern[visible].bincount(minlength=number), yx, intensity[visible]

    def patterns(self, rotations: Tensor) -> Tensor:
        """Calculated kinematic patterns of orientations (N, 3, 3), without the central beam.

        Returns:
            float32 (N, n, n): shares of the spots' intensity inside the detector, sum 1; 0 where no spot is.
        """
        return shares(render(*self.spots_px(rotations), self.diffraction.side_px, self.diffraction.spot_px))

    def spots_px(self, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (N, K, 2) [y, x] on the detector, px, and intensities (N, K) of the spots of such patterns."""
        spots = self.spots(rotations)
        return spots.position_per_a / self.diffraction.pixel_size_per_a + self.diffraction.centre_px, spots.intensity


def inverse_extinction_per_a(structure_factor_a: Tensor, volume_a3: float, voltage_kv: float) -> Tensor:
    """1/ξ = λ γ F / (π V) in 1/Å of structure factors in Å, with their phase."""
    gamma = 1 + 1e3 * voltage_kv / ELECTRON_REST_ENERGY_EV
    return structure_factor_a * wavelength_a(voltage_kv) * gamma / (math.pi * volume_a3)


def render(
    position_px: Tensor, intensity: Tensor, side_px: int, spot_px: float, places: Tensor | None = None
) -> Tensor:
    """Gaussian spots, each integrated over the pixels.

    Args:
        position_px: (N, K, 2) [y, x]; a pixel's middle is a whole number.
        intensity: (N, K).
        side_px: n.
        spot_px: standard deviation.
        places: (N,) at most K, over how many spots, empty ones included, the sum of each pattern runs: its rounding
            depends on that alone, not on the patterns beside it. By default `places_of` the intensities.

    Returns:
        (N, n, n); a spot inside contributes its intensity.
    """
    edges = torch.arange(side_px + 1, dtype=position_px.dtype, device=position_px.device) - 0.5
    places = places_of(intensity) if places is None else places
    images = torch.zeros(len(intensity), side_px, side_px, dtype=position_px.dtype, device=position_px.device)
    for n_spots in places.unique().tolist():
        for part in (places == n_spots).nonzero()[:, 0].split(_RENDERED[places.device.type]):
            offset_px = edges - position_px[part, :n_spots].unsqueeze(-1)  # (part, n_spots, 2, n + 1)
            along = torch.erf(offset_px / (math.sqrt(2) * spot_px)).diff(dim=-1) / 2
            images[part] = along[:, :, 0].mul(intensity[part, :n_spots].unsqueeze(-1)).mT @ along[:, :, 1]
    return images


def places_of(intensity: Tensor) -> Tensor:
    """Places (N,) for the spots of patterns (N, K): those of about as many get the same number, few of them empty."""
    counts = (intensity != 0).mul(torch.arange(1, intensity.shape[1] + 1, device=intensity.device)).amax(dim=1)
    places = torch.empty_like(counts)
    for part in counts.argsort().split(_RENDERED[counts.device.type]):
        places[part] = counts[part[-1]]
    return places


def shares(patterns: Tensor) -> Tensor:
    """Patterns (..., n, n) divided by their sums; 0 where there is nothing."""
    return patterns / patterns.sum(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(patterns.dtype).tiny)
