"""The angle between two orientations of a crystal, up to its symmetry."""

import numpy as np


def misorientation_deg(predicted: np.ndarray, true: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """Smallest angle of the rotation between predicted (Q, K, 3, 3) and true orientations (Q, 3, 3): (Q, K), degrees.

    symmetry: (S, 3, 3) proper rotations of the Laue group in the crystal's frame.
    """
    # angle(R1 S R2ᵀ) by the trace tr(S R2ᵀ R1) chooses S
    between = true.swapaxes(-1, -2)[:, None] @ predicted
    flat = between.swapaxes(-1, -2).reshape(*between.shape[:2], 9)
    best = (flat @ symmetry.reshape(-1, 9).T).argmax(axis=-1)
    # |R − 1| / (2√2) is the sine of half the angle; unlike the trace it is exact for small ones
    distance = np.linalg.norm(between - symmetry[best].swapaxes(-1, -2), axis=(-2, -1))
    return np.degrees(2 * np.arcsin(np.clip(distance / np.sqrt(8.0), 0, 1)))
