"""Poses written for RELION and Xmipp mean what those programs say they mean, by an implementation of its own.

A particle of Gaussian blobs is drawn where a pose puts it, in closed form; the written file is read back as plain text
and applied with matrices copied from the programs' documentation and cubic splines.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from workflow_scripts.formats.particles import write_star, write_xmd
from workflow_scripts.formats.poses import from_relion, from_xmipp, to_relion, to_xmipp
from workflow_scripts.formats.star import read_tables

# Offsets (x, y) from the centre in pixels, of an object without any symmetry.
BLOBS = np.array([[9.0, 0.0], [0.0, 6.0], [-4.0, -7.0], [3.0, 3.0]])
WEIGHTS = [1.0, 0.7, 0.5, 1.2]
ANGLE_DEG = np.array([0.0, 30.0, 123.4, 270.0, 359.0])
SHIFT_PX = np.array([[0.0, 0.0], [2.0, -3.5], [-4.2, 1.0], [0.0, 3.0], [1.5, 1.5]])
PIXEL_A = 1.7
angles = st.floats(0, 360, exclude_max=True)
shifts = st.floats(-50, 50)


def drawn(blobs, n):
    y, x = np.mgrid[:n, :n] - n // 2
    return sum(
        weight * np.exp(-((x - bx) ** 2 + (y - by) ** 2) / (2 * 2.2**2))
        for weight, (bx, by) in zip(WEIGHTS, blobs, strict=True)
    )


def observed(angle_deg, shift_px, n):
    """observed = shift(rotate(reference)): offsets turn from +x towards +y."""
    a = np.deg2rad(angle_deg)
    turned = np.stack(
        [np.cos(a) * BLOBS[:, 0] - np.sin(a) * BLOBS[:, 1], np.sin(a) * BLOBS[:, 0] + np.cos(a) * BLOBS[:, 1]], axis=1
    )
    return drawn(turned + shift_px[::-1], n)


def moved(image, matrix_xy, after_xy=(0.0, 0.0)):
    """The image whose content at offset p lies at matrix p + after: sampled at matrix⁻¹ (q − after)."""
    centre = image.shape[0] // 2
    inverse = np.linalg.inv(matrix_xy)[::-1, ::-1]  # on (y, x)
    offset = centre - inverse @ (np.array(after_xy)[::-1] + centre)
    return affine_transform(image, inverse, offset=offset, order=5, mode="constant")


def euler_matrix(psi_deg):
    """The first two rows and columns of Euler_angles2matrix(0, 0, psi), and of Xmipp's rotation2DMatrix."""
    c, s = np.cos(np.deg2rad(psi_deg)), np.sin(np.deg2rad(psi_deg))
    return np.array([[c, s], [-s, c]])


def as_numbers(table, label):
    return [float(text) for text in table[label]]


@pytest.mark.parametrize("n", [48, 49])
def test_the_written_star_applied_as_relion_says_is_the_aligned_stack(tmp_path, n):
    """Origins translate the image to its centre and are applied before rotations; angles rotate the reference."""
    path = tmp_path / "aligned.star"
    names = [f"{k:06d}@stack.mrcs" for k in range(1, 6)]
    write_star(path, names, ANGLE_DEG, SHIFT_PX, box_px=n, pixel_size_a=PIXEL_A)
    table = read_tables(path)["particles"]
    reference = drawn(BLOBS, n)
    columns = [as_numbers(table, label) for label in ("rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")]
    for k, (psi, x_a, y_a) in enumerate(zip(*columns, strict=True)):
        centred = moved(observed(ANGLE_DEG[k], SHIFT_PX[k], n), np.eye(2), (x_a / PIXEL_A, y_a / PIXEL_A))
        aligned = moved(centred, np.linalg.inv(euler_matrix(psi)))
        assert np.abs(aligned - reference).max() < 0.01
        again = moved(reference, euler_matrix(psi))  # and the reference, rotated, is the centred observation
        assert np.abs(again - centred).max() < 0.01


@pytest.mark.parametrize("n", [48, 49])
def test_the_written_xmd_applied_as_xmipp_says_is_the_aligned_stack(tmp_path, n):
    """The matrix of geo2TransformationMatrix, with the shift in its last column, carries the image to the reference."""
    path = tmp_path / "aligned.xmd"
    write_xmd(path, [f"{k:06d}@stack.mrcs" for k in range(1, 6)], ANGLE_DEG, SHIFT_PX)
    table = read_tables(path)["noname"]
    columns = [as_numbers(table, label) for label in ("anglePsi", "shiftX", "shiftY")]
    for k, (psi, x, y) in enumerate(zip(*columns, strict=True)):
        aligned = moved(observed(ANGLE_DEG[k], SHIFT_PX[k], n), euler_matrix(psi), (x, y))
        assert np.abs(aligned - drawn(BLOBS, n)).max() < 0.01
    assert table["flip"] == ["0"] * 5


@given(st.lists(st.tuples(angles, shifts, shifts), min_size=1, max_size=5), st.floats(0.1, 20))
def test_both_programs_give_our_poses_back(poses, pixel_size_a):
    angle_deg = np.array([pose[0] for pose in poses])
    shift_px = np.array([pose[1:] for pose in poses])
    relion = to_relion(angle_deg, shift_px, pixel_size_a)
    origin = np.stack([relion["rlnOriginYAngst"], relion["rlnOriginXAngst"]], axis=1)
    xmipp = to_xmipp(angle_deg, shift_px)
    in_xmipp = np.stack([xmipp["shiftY"], xmipp["shiftX"]], axis=1)
    assert np.all((relion["rlnAnglePsi"] > -180) & (relion["rlnAnglePsi"] <= 180))
    for angle, shift in (
        from_relion(relion["rlnAnglePsi"], origin, pixel_size_a),
        from_xmipp(xmipp["anglePsi"], in_xmipp),
    ):
        assert np.all((angle >= 0) & (angle < 360))
        assert np.abs((angle - angle_deg + 180) % 360 - 180).max() < 1e-9
        assert np.abs(shift - shift_px).max() < 1e-9


def test_the_programs_differ_in_the_sign_of_the_angle_and_in_the_order():
    angle_deg, shift_px = np.array([90.0]), np.array([[1.0, 2.0]])
    relion, xmipp = to_relion(angle_deg, shift_px, 2.0), to_xmipp(angle_deg, shift_px)
    assert [float(value[0]) for value in relion.values()] == [-90, -4, -2]
    assert [float(value[0]) for value in xmipp.values()] == pytest.approx([90, -1, 2, 0])
