"""Conversion of poses between the conventions of this project, RELION and Xmipp; float64 arrays.

This project: observed = shift(rotate(reference, angle), shift). `rotate` rotates about the pixel [n//2, n//2] from +x
(columns) towards +y (rows); `shift` translates by shift_px [y, x]. With offsets (x, y) from that pixel and

    R(a) = [[cos a, −sin a], [sin a, cos a]],   p_observed = R(angle) p_reference + shift.

RELION (its documentation, "Conventions", and Euler_angles2matrix in its src/euler.cpp, doi:10.7554/eLife.42166): the
angles rotate the reference into the observation, p_observed = A p_reference with A(0, 0, ψ) = [[cos ψ, sin ψ],
[−sin ψ, cos ψ]] = R(−ψ); the origin offsets are added to the observation before it is rotated back, in Å:

    p_reference = A⁻¹ (p_observed + origin),   hence ψ = −angle and origin = −shift · pixel size.

Xmipp (geo2TransformationMatrix in xmippCore's transformations, doi:10.1016/j.jsb.2013.09.015): the matrix
[[cos ψ, sin ψ], [−sin ψ, cos ψ]] = R(−ψ) acts on the observation, and the shift, in pixels, is added afterwards:

    p_reference = R(−ψ) p_observed + (shiftX, shiftY),   hence ψ = angle and (shiftX, shiftY) = −R(−angle) shift.

With `flip`, Xmipp mirrors x between the two; poses of this project have no mirror.
"""

import numpy as np


def to_relion(angle_deg: np.ndarray, shift_px: np.ndarray, pixel_size_a: float) -> dict[str, np.ndarray]:
    """RELION's columns of the poses.

    Args:
        angle_deg: (N,), degrees.
        shift_px: (N, 2) as [y, x], pixels.
        pixel_size_a: Å.

    Returns:
        rlnAnglePsi in (−180, 180], rlnOriginXAngst and rlnOriginYAngst in Å, (N,) each.
    """
    return {
        "rlnAnglePsi": _signed_deg(-angle_deg),
        "rlnOriginXAngst": -shift_px[:, 1] * pixel_size_a,
        "rlnOriginYAngst": -shift_px[:, 0] * pixel_size_a,
    }


def from_relion(psi_deg: np.ndarray, origin_a: np.ndarray, pixel_size_a: float) -> tuple[np.ndarray, np.ndarray]:
    """Poses from RELION's rlnAnglePsi (N,) and (rlnOriginYAngst, rlnOriginXAngst) (N, 2) in Å.

    The older rlnOriginX and rlnOriginY are in pixels: pass 1 as the pixel size.

    Returns:
        angle_deg (N,) in [0, 360) and shift_px (N, 2) as [y, x].
    """
    return _unsigned_deg(-psi_deg), -origin_a / pixel_size_a


def to_xmipp(angle_deg: np.ndarray, shift_px: np.ndarray) -> dict[str, np.ndarray]:
    """Xmipp's columns of the poses: anglePsi in (−180, 180], shiftX and shiftY in pixels, flip 0, (N,) each."""
    back = turned_offsets(-shift_px, -angle_deg)
    return {
        "anglePsi": _signed_deg(angle_deg),
        "shiftX": back[:, 1],
        "shiftY": back[:, 0],
        "flip": np.zeros(len(angle_deg), dtype=np.int64),
    }


def from_xmipp(psi_deg: np.ndarray, shift_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses from Xmipp's anglePsi (N,) and (shiftY, shiftX) (N, 2) of particles that are not flipped.

    Returns:
        angle_deg (N,) in [0, 360) and shift_px (N, 2) as [y, x].
    """
    return _unsigned_deg(psi_deg), -turned_offsets(shift_px, psi_deg)


def turned_offsets(offset_px: np.ndarray, angle_deg: np.ndarray) -> np.ndarray:
    """R(angle) (N,) applied to offsets (N, 2) as [y, x]."""
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    y, x = offset_px.T
    return np.stack([sin * x + cos * y, cos * x - sin * y], axis=1)


def _unsigned_deg(angle_deg: np.ndarray) -> np.ndarray:
    turned = np.mod(angle_deg, 360)
    return np.where(turned < 360, turned, 0.0)  # mod rounds −1e-20 up to 360


def _signed_deg(angle_deg: np.ndarray) -> np.ndarray:
    return 180 - np.mod(180 - angle_deg, 360)
