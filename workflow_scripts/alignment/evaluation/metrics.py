"""Errors of angles and shifts, up to the rigid motion of the whole stack that no alignment can determine.

The average of a stack may have any orientation and position, so poses are defined up to a common angle and a common
shift. These two offsets are fitted here to the truth, to minimise the mean error; nothing else uses them. Relative
angles of pairs have no common offset, and none is subtracted.
"""

from functools import partial

import numpy as np

from workflow_scripts.formats.poses import turned_offsets

STATISTICS = {"mean": np.mean, "median": np.median, "p90": partial(np.percentile, q=90)}
_RECIPE_BATCH = 32


def circular_difference(first_deg: np.ndarray, second_deg: np.ndarray, period_deg: float = 360.0) -> np.ndarray:
    """first − second in [−period/2, period/2)."""
    difference = np.asarray(first_deg, float) - np.asarray(second_deg, float)
    return (difference + period_deg / 2) % period_deg - period_deg / 2


def circular_median(angle_deg: np.ndarray, period_deg: float = 360.0) -> float:
    """The angle in [0, period) with the smallest mean absolute distance to all angles; it is one of them."""
    angles = np.asarray(angle_deg, float).ravel()
    # The mean distance is piecewise linear with minima only at the angles; computed in pieces to save memory
    costs = [
        np.abs(circular_difference(piece[:, None], angles, period_deg)).mean(axis=1)
        for piece in np.array_split(angles, -(-angles.size // 512))
    ]
    return float(angles[np.argmin(np.concatenate(costs))] % period_deg)


def rotation_error_deg(
    estimate_deg: np.ndarray, true_deg: np.ndarray, period_deg: float = 360.0, relative: bool = False
) -> np.ndarray:
    """Absolute error of each angle in [0, period/2].

    Args:
        estimate_deg, true_deg: (N,).
        period_deg: 360 for the full angle, 180 for angles from spectra, 360/n for a particle that looks the same after
            a rotation by 360/n.
        relative: the angles are differences within pairs, which have no common offset.

    Returns:
        (N,) degrees. Random angles give period/4 on average.
    """
    difference = circular_difference(estimate_deg, true_deg, period_deg)
    offset = 0.0 if relative else circular_median(difference, period_deg)
    return np.abs(circular_difference(difference, offset, period_deg))


def recipe_error_deg(estimate_deg: np.ndarray, true_deg: np.ndarray) -> np.ndarray:
    """The error as the published evaluation computes it, with two mistakes.

    The mean difference from the truth of every 32 pairs is subtracted, an arithmetic mean of circular quantities; and
    the error is the smallest of |d| and |d ± 180|, which is not circular.

    Args:
        estimate_deg, true_deg: (N,), in the order of the file.

    Returns:
        (N,), degrees.
    """
    difference = np.asarray(estimate_deg, dtype=np.float64) - np.asarray(true_deg, dtype=np.float64)
    batches = np.arange(len(difference)) // _RECIPE_BATCH
    offset = np.bincount(batches, difference) / np.bincount(batches)
    difference = difference - offset[batches]
    return np.abs(difference[:, None] - np.array([0.0, 180.0, -180.0])).min(axis=1)


def symmetry_period_deg(order: int, spectrum: bool = False) -> float:
    """The period modulo which the angle of a particle with n-fold symmetry is determined: 360/n.

    A spectrum is also symmetric under 180°, which makes it 180/n for odd n.
    """
    return 360.0 / (np.lcm(order, 2) if spectrum else order)


def shift_error_px(estimate_deg: np.ndarray, estimate_px: np.ndarray, true_px: np.ndarray) -> np.ndarray:
    """Distance between estimated and true shift of each particle, in pixels.

    A reference displaced by c from the true centre adds R(angle) c to every shift. The vector c is fitted as the median
    along each axis of R(−angle) (estimate − true), and R(angle) c is subtracted.

    Args:
        estimate_deg: (N,) estimated angles over 360°.
        estimate_px, true_px: (N, 2) [y, x].

    Returns:
        (N,) pixels.
    """
    angle, estimate, true = (np.asarray(values, float) for values in (estimate_deg, estimate_px, true_px))
    difference = estimate - true
    offset = np.median(turned_offsets(difference, -angle), axis=0)
    return np.linalg.norm(difference - turned_offsets(np.tile(offset, (angle.size, 1)), angle), axis=1)


def pair_shift_error_px(
    estimate_deg: np.ndarray, estimate_px: np.ndarray, true_deg: np.ndarray, true_px: np.ndarray, period_deg: float
) -> np.ndarray:
    """Distance between the estimated and the true shift within each pair of consecutive images, in pixels.

    Image i is image i + 1, rotated by angle(i) − angle(i + 1) and then shifted by the vector that is estimated. Of the
    rotations by this angle and multiples of the period, which are all true, the one nearest to the estimate counts.

    Args:
        estimate_deg, estimate_px: (N − 1,) and (N − 1, 2) [y, x].
        true_deg, true_px: (N,) and (N, 2), the poses of the images.
        period_deg: 360/n for a C_n particle.
    """
    true_deg, true_px = np.asarray(true_deg, float), np.asarray(true_px, float)
    turn_deg = true_deg[:-1] - true_deg[1:]
    turn_deg = turn_deg + period_deg * np.round((np.asarray(estimate_deg, float) - turn_deg) / period_deg)
    relative_px = true_px[:-1] - turned_offsets(true_px[1:], turn_deg)
    return np.linalg.norm(np.asarray(estimate_px, float) - relative_px, axis=1)
