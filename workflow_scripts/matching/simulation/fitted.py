"""Observed patterns as a smooth function of orientation, thickness and distortion, with its derivatives."""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.orientations import rotation_from_vector

# Gauss–Hermite quadrature of the mosaic's spread of excitation errors: offsets in standard deviations, and weights.
_OFFSETS, _WEIGHTS = (-math.sqrt(3), 0.0, math.sqrt(3)), (1 / 6, 2 / 3, 1 / 6)
_SMALL = 1e-2  # below it the derivative of sin(u)/u is taken from its series
_NEAR_DEG = 0.5  # reflections within this tilt of the Ewald sphere compete for a place among the strongest
THICKNESS, CENTRE, STRETCH, SHARE = 0, slice(1, 3), slice(3, 6), 6
LOWEST, HIGHEST = (-0.45, *[-math.inf] * 5, 0.05), (0.45, *[math.inf] * 5, 0.95)


@dataclass(frozen=True, eq=False)
class State:
    """What M patterns are calculated from.

    rotation: (M, 3, 3), lab = R @ crystal.
    values: (M, 7): log of the thickness over that of the illumination; offset of the centre y, x, px; stretch
        κ, e1, e2, by which [y, x] is multiplied with [[1 + κ + e1, e2], [e2, 1 + κ − e1]]; share of the electrons in
        the spots.
    """

    rotation: Tensor
    values: Tensor

    def __getitem__(self, rows: Tensor) -> Self:
        """The states of these patterns."""
        return type(self)(self.rotation[rows], self.values[rows])

    def moved(self, step: Tensor) -> Self:
        """After steps (M, 10): a rotation vector in the lab, rad, and changes of the values, kept in their range."""
        low, high = (torch.tensor(limit).to(step) for limit in (LOWEST, HIGHEST))
        values = (self.values + step[:, 3:]).clamp(low, high)
        return type(self)(rotation_from_vector(step[:, :3]) @ self.rotation, values)

    def replaced(self, rows: Tensor, other: Self) -> Self:
        """With other states in these rows."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return type(self)(*(own.index_copy(0, rows, new) for own, new in pairs))

    def where(self, better: Tensor, other: Self) -> Self:
        """These states where `better` (M,) is set, others elsewhere."""
        rows = better.nonzero()[:, 0]
        return other.replaced(rows, self[rows])


class PatternModel:
    """Expected shares of the electrons in the pixels: Gaussian spots of kinematic intensities on a given background.

    Args:
        simulator: of the crystal.
        mosaic_deg: standard deviation of the tilts over which the rocking curve of a reflection is averaged.
        visible: bool (n, n), the pixels that count.
        reflections: K, the number of reflections in a pattern, the strongest.
    """

    def __init__(self, simulator: Simulator, mosaic_deg: float, visible: Tensor, reflections: int) -> None:
        self._simulator, self._spot_px = simulator, simulator.diffraction.spot_px
        self._mosaic = math.radians(mosaic_deg)
        self.visible = visible.to(simulator.device, torch.float32)
        self._reflections = min(reflections, len(simulator.g_per_a))
        light = simulator.diffraction
        self._edges_px = torch.arange(light.side_px + 1, device=simulator.device) - 0.5 - light.centre_px

    def strongest(self, rotation: Tensor) -> Tensor:
        """Rows (M, K) of the reflections whose intensity can be largest near orientations (M, 3, 3)."""
        simulator = self._simulator
        error = simulator.excitation_error_per_a(rotation[:, 2] @ simulator.g_per_a.T, simulator.g_squared)
        nearest = (error.abs() - simulator.g_squared.sqrt() * math.radians(_NEAR_DEG)).clamp_min(0)
        width = 1 / (10 * simulator.diffraction.thickness_nm)
        envelope = simulator.inverse_extinction_per_a.square() / (width**2 + (math.pi * nearest).square())
        return envelope.topk(self._reflections, dim=1).indices

    def expected(self, state: State, reflections: Tensor, background: Tensor) -> Tensor:
        """Expected shares (M, n, n), of sum 1 over the visible pixels.

        Args:
            reflections: (M, K) of `strongest`.
            background: (M, n, n), of sum 1 over the visible pixels.
        """
        across, intensity, _, _ = self._spots(state, reflections)
        along_y, along_x = self._profiles(state, across)
        spots, _ = self._normalised_spots(along_y, along_x, intensity)
        return _mixed(state, spots, background)

    def with_slopes(self, state: State, reflections: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        """The same and its derivatives (M, 10, n, n) by the parameters of `State.moved`."""
        across, intensity, by_error, by_thickness = self._spots(state, reflections)
        along_y, along_x, slope_y, slope_x = self._profiles(state, across, slopes=True)
        spots, total = self._normalised_spots(along_y, along_x, intensity)
        x, y = across.unbind(-1)
        # Rotations about x and y change excitation errors, that about z and the distortion the places of the spots.
        weights = torch.stack([-by_error * y, by_error * x, by_thickness], dim=1)
        slopes = (along_y[:, None] * weights[..., None]).mT @ along_x[:, None]  # (M, 3, n, n)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        turned = torch.stack([x, -y], dim=-1) @ _stretch(state).mT
        to_y = torch.stack([turned[..., 0], one, zero, y, y, x], dim=1) * intensity[:, None]
        to_x = torch.stack([turned[..., 1], zero, one, x, -x, y], dim=1) * intensity[:, None]
        moved = (slope_y[:, None] * to_y[..., None]).mT @ along_x[:, None]
        moved = moved + (along_y[:, None] * to_x[..., None]).mT @ slope_x[:, None]
        slopes = torch.cat([slopes[:, :2], moved[:, :1], slopes[:, 2:], moved[:, 1:]], dim=1) * self.visible
        share = state.values[:, SHARE, None, None, None]
        slopes = (slopes - spots[:, None] * slopes.sum(dim=(2, 3), keepdim=True)) * (share / total[:, None])
        return _mixed(state, spots, background), torch.cat([slopes, (spots - background)[:, None]], dim=1)

    def _normalised_spots(self, along_y: Tensor, along_x: Tensor, intensity: Tensor) -> tuple[Tensor, Tensor]:
        """Spots (M, n, n) of sum 1 over the visible pixels, and the sums before (M, 1, 1)."""
        spots = (along_y * intensity[..., None]).mT @ along_x * self.visible
        total = spots.sum(dim=(1, 2), keepdim=True).clamp_min(1e-20)
        return spots / total, total

    def _spots(self, state: State, reflections: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Places [x, y] (M, K, 2), px, intensities (M, K), their slopes by excitation error and log thickness.

        The places are before distortion; the slope by the error is per pixel of it.
        """
        simulator = self._simulator
        lab = simulator.g_per_a[reflections] @ state.rotation.mT  # (M, K, 3)
        squared = simulator.g_squared[reflections]
        error = simulator.excitation_error_per_a(lab[..., 2], squared)
        thickness = (10 * simulator.diffraction.thickness_nm * state.values[:, THICKNESS].exp())[:, None]
        offsets, weights = (torch.tensor(values, device=lab.device) for values in (_OFFSETS, _WEIGHTS))
        spread = self._mosaic * squared.sqrt()
        phase = math.pi * thickness[..., None] * (error[..., None] + spread[..., None] * offsets)
        sinc, slope = _sinc(phase)
        strength = (math.pi * thickness * simulator.inverse_extinction_per_a[reflections]).square()
        intensity = strength * (sinc.square() @ weights)
        by_phase = 2 * sinc * slope
        by_error = strength * (by_phase @ weights) * math.pi * thickness
        by_thickness = 2 * intensity + strength * ((by_phase * phase) @ weights)
        pixel = simulator.diffraction.pixel_size_per_a
        return lab[..., :2] / pixel, intensity, by_error * pixel, by_thickness

    def _profiles(self, state: State, across: Tensor, slopes: bool = False) -> tuple[Tensor, ...]:
        """Of every spot the shares of the rows and of the columns of pixels (M, K, n), and on demand their slopes."""
        place = across.flip(-1) @ _stretch(state).mT + state.values[:, None, CENTRE]  # (M, K, 2) [y, x]
        offset = (self._edges_px - place[..., None]) / self._spot_px  # (M, K, 2, n + 1)
        shares = torch.erf(offset / math.sqrt(2)).diff(dim=-1) / 2
        if not slopes:
            return shares.unbind(2)
        density = (-offset.square() / 2).exp() / (self._spot_px * math.sqrt(2 * math.pi))
        return *shares.unbind(2), *(-density.diff(dim=-1)).unbind(2)


def _stretch(state: State) -> Tensor:
    """Matrices (M, 2, 2) on [y, x]."""
    kappa, e1, e2 = state.values[:, STRETCH].unbind(1)
    return torch.stack([1 + kappa + e1, e2, e2, 1 + kappa - e1], dim=1).view(-1, 2, 2)


def _mixed(state: State, spots: Tensor, background: Tensor) -> Tensor:
    share = state.values[:, SHARE, None, None]
    return (share * spots + (1 - share) * background).clamp_min(1e-9)


def _sinc(phase: Tensor) -> tuple[Tensor, Tensor]:
    """sin(u)/u and its derivative."""
    small = phase.abs() < _SMALL
    safe = torch.where(small, 1.0, phase)
    sinc = torch.where(small, 1 - phase.square() / 6, safe.sin() / safe)
    return sinc, torch.where(small, -phase / 3, (safe.cos() - sinc) / safe)
