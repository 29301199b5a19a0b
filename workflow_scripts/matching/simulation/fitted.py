"""Observed patterns as a smooth function of orientation, thickness and distortion, with its derivatives.

A state is a row of 16 numbers: the orientation R (9); the log of the thickness over that of the illumination; the
offset of the centre y, x, px; κ, e1, e2 of the stretch [[1 + κ + e1, e2], [e2, 1 + κ − e1]] of [y, x]; the share of the
electrons in the spots.
"""

import math

import torch
from torch import Tensor

from workflow_scripts.matching.simulation.kinematic import Simulator, shares
from workflow_scripts.matching.simulation.orientations import rotation_from_vector

# Gauss–Hermite quadrature of the mosaic's spread of excitation errors: offsets in standard deviations, and weights.
_OFFSETS, _WEIGHTS = (-math.sqrt(3), 0.0, math.sqrt(3)), (1 / 6, 2 / 3, 1 / 6)
_SMALL = 1e-2  # below it sin(u)/u and its derivative are taken from their series
_NEAR_DEG = 0.5  # reflections within this tilt of the Ewald sphere compete for a place among the strongest
_LOWEST, _HIGHEST = (-0.45, *[-math.inf] * 5, 0.05), (0.45, *[math.inf] * 5, 0.95)  # of the values


def states(rotation: Tensor, values: Tensor) -> Tensor:
    """(M, 16) from orientations (M, 3, 3) and values (M, 7)."""
    return torch.cat([rotation.flatten(1), values], dim=1)


def rotations_of(state: Tensor) -> Tensor:
    """Orientations (M, 3, 3) of states (M, 16)."""
    return state[:, :9].view(-1, 3, 3)


def moved(state: Tensor, step: Tensor) -> Tensor:
    """States after steps (M, 10): a rotation vector in the lab, rad, and changes of the values, kept in their range."""
    low, high = (torch.tensor(limit).to(step) for limit in (_LOWEST, _HIGHEST))
    values = (state[:, 9:] + step[:, 3:]).clamp(low, high)
    return states(rotation_from_vector(step[:, :3]) @ rotations_of(state), values)


class PatternModel:
    """Expected shares of the electrons in the pixels: Gaussian spots of kinematic intensities on a given background.

    Args:
        simulator: of the crystal.
        mosaic_deg: standard deviation of the tilts over which the rocking curve of a reflection is averaged.
        visible: bool (n, n), the pixels that count.
        reflections: K, the number of reflections in a pattern, the strongest.
    """

    def __init__(self, simulator: Simulator, mosaic_deg: float, visible: Tensor, reflections: int) -> None:
        light = simulator.diffraction
        self._simulator, self._spot_px, self._mosaic = simulator, light.spot_px, math.radians(mosaic_deg)
        self.visible = visible.to(simulator.device, torch.float32)
        self._reflections = min(reflections, len(simulator.g_per_a))
        self._edges_px = torch.arange(light.side_px + 1, device=simulator.device) - 0.5 - light.centre_px

    def strongest(self, state: Tensor) -> Tensor:
        """Rows (M, K) of the reflections whose intensity can be largest near the orientations of states (M, 16)."""
        simulator = self._simulator
        error = simulator.excitation_error_per_a(state[:, 6:9] @ simulator.g_per_a.T, simulator.g_squared)
        nearest = (error.abs() - simulator.g_squared.sqrt() * math.radians(_NEAR_DEG)).clamp_min(0)
        width = 1 / (10 * simulator.diffraction.thickness_nm)
        envelope = simulator.inverse_extinction_per_a.square() / (width**2 + (math.pi * nearest).square())
        return envelope.topk(self._reflections, dim=1).indices

    def expected(
        self, state: Tensor, reflections: Tensor, background: Tensor, slopes: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Expected shares (M, n, n) and their derivatives (M, 10, n, n) by the step of `moved`.

        Args:
            state: (M, 16).
            reflections: (M, K) of `strongest`.
            background: (M, n, n), of sum 1 over the visible pixels, as the expected shares.
            slopes: whether the derivatives are wanted; without them the second result is empty.
        """
        xy, intensity, by_error, by_thickness = self._spots(state, reflections)
        kappa, e1, e2, share = state[:, 12:].unbind(1)
        stretch = torch.stack([1 + kappa + e1, e2, e2, 1 + kappa - e1], dim=1).view(-1, 2, 2)
        place = xy.flip(-1) @ stretch + state[:, None, 10:12]  # (M, K, 2) [y, x]
        offset = (self._edges_px - place[..., None]) / self._spot_px  # (M, K, 2, n + 1)
        along_y, along_x = (torch.erf(offset / math.sqrt(2)).diff(dim=-1) / 2).unbind(2)
        image = (along_y * intensity[..., None]).mT @ along_x * self.visible
        total, spots, share = image.sum(dim=(1, 2), keepdim=True).clamp_min(1e-20), shares(image), share[:, None, None]
        expected = (share * spots + (1 - share) * background).clamp_min(1e-9)
        if not slopes:
            return expected, expected[:, :0]
        density = (-offset.square() / 2).exp() / (self._spot_px * math.sqrt(2 * math.pi))
        slope_y, slope_x = (-density.diff(dim=-1)).unbind(2)
        # Rotations about x and y change excitation errors, that about z and the distortion the places of the spots.
        x, y = xy.unbind(-1)
        weights = torch.stack([-by_error * y, by_error * x, by_thickness], dim=1)
        brighter = (along_y[:, None] * weights[..., None]).mT @ along_x[:, None]  # (M, 3, n, n)
        turned = torch.stack([x, -y], dim=-1) @ stretch
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        to_y = torch.stack([turned[..., 0], one, zero, y, y, x], dim=1) * intensity[:, None]
        to_x = torch.stack([turned[..., 1], zero, one, x, -x, y], dim=1) * intensity[:, None]
        shifted = (slope_y[:, None] * to_y[..., None]).mT @ along_x[:, None]
        shifted = shifted + (along_y[:, None] * to_x[..., None]).mT @ slope_x[:, None]
        change = torch.cat([brighter[:, :2], shifted[:, :1], brighter[:, 2:], shifted[:, 1:]], dim=1) * self.visible
        change = (change - spots[:, None] * change.sum(dim=(2, 3), keepdim=True)) * (share / total)[:, None]
        return expected, torch.cat([change, (spots - background)[:, None]], dim=1)

    def _spots(self, state: Tensor, reflections: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Places [x, y] before distortion (M, K, 2), px; intensities, slopes by the error, px, and by log thickness."""
        simulator = self._simulator
        lab = simulator.g_per_a[reflections] @ rotations_of(state).mT  # (M, K, 3)
        squared = simulator.g_squared[reflections]
        error = simulator.excitation_error_per_a(lab[..., 2], squared)
        thickness_a = (10 * simulator.diffraction.thickness_nm * state[:, 9].exp())[:, None]
        offsets, weights = (torch.tensor(values, device=lab.device) for values in (_OFFSETS, _WEIGHTS))
        errors = error[..., None] + self._mosaic * squared.sqrt()[..., None] * offsets
        phase = math.pi * thickness_a[..., None] * errors
        small = phase.abs() < _SMALL
        safe = torch.where(small, 1.0, phase)
        sinc = torch.where(small, 1 - phase.square() / 6, safe.sin() / safe)
        slope = 2 * sinc * torch.where(small, -phase / 3, (safe.cos() - sinc) / safe)
        strength = (math.pi * thickness_a * simulator.inverse_extinction_per_a[reflections]).square()
        intensity = strength * (sinc.square() @ weights)
        pixel = simulator.diffraction.pixel_size_per_a
        by_error = strength * (slope @ weights) * math.pi * thickness_a * pixel
        return lab[..., :2] / pixel, intensity, by_error, 2 * intensity + strength * ((slope * phase) @ weights)
