"""The lattice average of an estimate: where an image is one crystal, every unit cell in it shows the same potential.

The average is the least-squares fit of the harmonics of the crystal's lattice. What the user knows of it are the cell
of the material and the rotation of the crystal in the scan; in practice both are off, and a degree and a per cent cost
as much as the average gains. So the lattice is refined on the estimate itself: the linear distortion under which the
harmonics have most power. No truth enters.
"""

import numpy as np

LIMIT_PER_A = 2.0  # harmonics up to this frequency, Å⁻¹; above, estimates have almost no power
_SHARP_PER_A = 1.0  # harmonics that refine the lattice, Å⁻¹
WINDOW_SHARE = 0.2  # standard deviation of their Gaussian window, as a share of the image's side
_STEPS = 6
_LARGEST_DISTORTION = 0.05  # labels are better than this; where the image says otherwise, it is too noisy to tell
# Added to the diagonal of the normal equations, whose entries are 1: harmonics of few cells overlap
PENALTY = 0.03


def lattice_average(image: np.ndarray, cell_a: np.ndarray, rotation_deg: float, pixel_size_a: float) -> np.ndarray:
    """The part of an image that repeats with the crystal's lattice.

    Args:
        image: (H, W).
        cell_a: height and width of the orthogonal cell in the frame of the crystal, Å.
        rotation_deg: of the crystal against the scan, from +y towards +x.
        pixel_size_a: Å.

    Returns:
        float64 (H, W); the image itself where it has no room for two cells.
    """
    if image.size * pixel_size_a**2 < 2 * cell_a[0] * cell_a[1]:
        return image.astype(np.float64)
    axes_a = [(np.arange(side) - (side - 1) / 2) * pixel_size_a for side in image.shape]
    sharp, all_vectors = (_reciprocal(cell_a, rotation_deg, limit) for limit in (_SHARP_PER_A, LIMIT_PER_A))
    vectors = refined(image, sharp, axes_a) @ all_vectors  # (2, G)
    y, x = (np.exp(2j * np.pi * axis[:, None] * v) for axis, v in zip(axes_a, vectors, strict=True))  # (H, G), (W, G)
    gram = (y.conj().T @ y) * (x.conj().T @ x) / image.size
    projected = np.einsum("yg,yg->g", y.conj(), image @ x.conj()) / image.size
    penalty = PENALTY * (vectors != 0).any(axis=0)  # the mean is kept
    coefficients = np.linalg.solve(gram + np.diag(penalty), projected)
    return ((y * coefficients) @ x.T).real


def refined(image: np.ndarray, vectors: np.ndarray, axes_a: list[np.ndarray]) -> np.ndarray:
    """The matrix (2, 2) that maps reciprocal lattice vectors (2, G), Å⁻¹, to where the image has its peaks.

    The power of the windowed image falls off as a Gaussian around a peak, so its logarithmic slope gives the distance;
    the matrix fits these distances, weighted by the power, and is iterated.

    Args:
        image: (H, W).
        vectors: at most about half the spacing of neighbouring peaks off.
        axes_a: coordinates of rows and columns, Å.
    """
    widths_a = [WINDOW_SHARE * (axis[-1] - axis[0]) for axis in axes_a]
    windows = [np.exp(-(axis**2) / (2 * width**2)) for axis, width in zip(axes_a, widths_a, strict=True)]
    windowed = (image - image.mean()) * windows[0][:, None] * windows[1]
    matrix = np.eye(2)
    for _ in range(_STEPS):
        moved = matrix @ vectors
        y, x = (np.exp(-2j * np.pi * axis[:, None] * v) for axis, v in zip(axes_a, moved, strict=True))
        rows = windowed @ x
        peak = np.einsum("yg,yg->g", y, rows)
        slopes = np.stack(
            [
                -2j * np.pi * np.einsum("yg,yg->g", axes_a[0][:, None] * y, rows),
                -2j * np.pi * np.einsum("yg,yg->g", y, windowed @ (axes_a[1][:, None] * x)),
            ]
        )
        power = np.abs(peak) ** 2
        # d|F|²/dq = 2 Re(F' F*) = 8 π² w² (q0 - q) |F|² with a window of standard deviation w: the distance times |F|²
        distance = (slopes * peak.conj()).real / (2 * np.pi * np.array(widths_a)[:, None]) ** 2
        normal = (moved * power) @ moved.T
        matrix = (np.eye(2) + distance @ moved.T @ np.linalg.pinv(normal)) @ matrix
    return matrix if abs(matrix - np.eye(2)).max() < _LARGEST_DISTORTION else np.eye(2)


def _reciprocal(cell_a: np.ndarray, rotation_deg: float, limit_per_a: float) -> np.ndarray:
    """Reciprocal lattice vectors (2, G) [y, x] in the frame of the scan up to a frequency, Å⁻¹."""
    reach = [int(limit_per_a * side) for side in cell_a]
    orders = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")).reshape(2, -1)
    vectors = orders / np.asarray(cell_a)[:, None]
    vectors = vectors[:, np.hypot(*vectors) <= limit_per_a]
    cosine, sine = np.cos(np.radians(rotation_deg)), np.sin(np.radians(rotation_deg))
    return np.array([[cosine, -sine], [sine, cosine]]) @ vectors
