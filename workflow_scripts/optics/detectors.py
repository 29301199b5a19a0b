"""Detectors of a scanning transmission electron microscope: discs and rings, whole or in segments."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.optics.waves import wavelength_a


@dataclass(frozen=True)
class Detector:
    """A ring between two angles, cut into equal segments; a disc where the inner angle is 0.

    Segment s covers the azimuths [s, s + 1) · 360° / segments + rotation, counted from +y towards +x; an edge belongs
    to the segment that begins at it, so that a rotation by one segment only renames them.

    Attributes:
        inner_mrad: inner angle, which belongs to the ring.
        outer_mrad: outer angle, which does not.
        segments: number of segments.
        rotation_deg: azimuth at which segment 0 begins, against the axes of the scan.
    """

    inner_mrad: float
    outer_mrad: float
    segments: int = 1
    rotation_deg: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.inner_mrad < self.outer_mrad:
            raise ValueError(f"a ring needs 0 ≤ inner < outer angle, not {self.inner_mrad} and {self.outer_mrad} mrad")
        if self.segments < 1:
            raise ValueError(f"a detector has at least one segment, not {self.segments}")

    def masks(self, frequency_per_a: Tensor, voltage_kv: float) -> Tensor:
        """Which segment detects which spatial frequency.

        Args:
            frequency_per_a: float64 (K, 2) [y, x], Å⁻¹.
            voltage_kv: of the electrons, kV.

        Returns:
            bool (segments, K), at most one True in each column.
        """
        angle_mrad = 1e3 * wavelength_a(voltage_kv) * frequency_per_a.norm(dim=1)
        azimuth = torch.atan2(frequency_per_a[:, 1], frequency_per_a[:, 0]) - math.radians(self.rotation_deg)
        # Rounded, so that the last bit does not decide on which side of an edge a frequency lies
        sectors = (azimuth / (2 * math.pi) * self.segments).mul(1e9).round().div(1e9)
        segment = sectors.floor().remainder(self.segments)
        inside = (angle_mrad >= self.inner_mrad) & (angle_mrad < self.outer_mrad)
        numbers = torch.arange(self.segments, device=segment.device, dtype=segment.dtype)
        return (segment == numbers[:, None]) & inside
