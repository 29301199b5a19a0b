"""A block of crystal in vacuum, rotated and tilted: the specimen of the published recipe.

Unlike a real specimen it is surrounded by vacuum, and where it is larger than the cell it wraps around. Both are kept,
since the published score depends on them.
"""

import math

import numpy as np

from workflow_scripts.potential.simulation.structures import Crystal


def patch(
    crystal: Crystal,
    cell_a: tuple[float, float],
    side_a: float,
    thickness_a: float,
    rotation_deg: float,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    centre_a: tuple[float, float] = (0.0, 0.0),
) -> Crystal:
    """A block of side × side × thickness, rotated about the beam and then tilted about x and y, in a cell of vacuum.

    The block is cut along the axes of the crystal and rotated about its middle, which comes to lie in the middle of the
    cell. Atoms beyond the border of the cell come in again on the other side. The lowest atom lies at z = 0.

    Args:
        crystal: repeats in all directions; thickness_a of at most its cell's depth takes a single layer.
        cell_a: height and width of the cell, Å.
        side_a: side of the block, Å.
        thickness_a: of the block before it is tilted, Å.
        rotation_deg: about the beam, from x towards y.
        tilt_deg: about y (z towards x) and about x (y towards z); the one about x is done first.
        centre_a: [y, x] in the crystal of the block's middle, Å.

    Returns:
        The atoms in a cell as deep as the block, or as its highest atom if that lies above.

    Raises:
        ValueError: the block holds no atom.
    """
    middle = np.array([thickness_a / 2, *centre_a])
    half = np.array([thickness_a, side_a, side_a]) / 2
    atoms, positions = _cut(crystal, middle - half, middle + half)
    if not len(atoms):
        raise ValueError(f"a block of {side_a} × {side_a} × {thickness_a} Å holds no atom")
    rotated = (positions - middle) @ _rotation(rotation_deg, tilt_deg).T
    rotated[:, 0] -= rotated[:, 0].min()
    across = (rotated[:, 1:] + np.array(cell_a) / 2) % cell_a
    # The remainder of a tiny negative number rounds to the divisor.
    rotated[:, 1:] = np.where(across < cell_a, across, 0.0)
    depth = max(thickness_a, math.nextafter(float(rotated[:, 0].max()), math.inf))
    return crystal.with_atoms(atoms, rotated, (depth, *cell_a))


def _cut(crystal: Crystal, lowest: np.ndarray, highest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of the repeated crystal with lowest ≤ position < highest, by depth: index in the cell and [z, y, x]."""
    cell = np.array(crystal.cell_a)
    first, last = np.floor(lowest / cell).astype(int) - 1, np.ceil(highest / cell).astype(int) + 1
    steps = np.stack(np.meshgrid(*map(np.arange, first, last), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = (steps * cell + crystal.positions_a).reshape(-1, 3)
    atoms = np.tile(np.arange(len(crystal.symbols)), len(steps))
    # The tolerance makes the treatment of atoms on the border independent of rounding: they belong to the block below.
    inside = ((positions >= lowest - 1e-6) & (positions < highest - 1e-6)).all(axis=1)
    positions, atoms = positions[inside], atoms[inside]
    order = np.lexsort(positions.T[::-1].round(6))
    return atoms[order], positions[order]


def _rotation(rotation_deg: float, tilt_deg: tuple[float, float]) -> np.ndarray:
    """(3, 3) for columns [z, y, x]: about z, then x, then y, each right-handed."""
    about_z, about_y, about_x = np.radians([rotation_deg, *tilt_deg])
    cosine, sine = np.cos, np.sin
    z = np.array([[1, 0, 0], [0, cosine(about_z), sine(about_z)], [0, -sine(about_z), cosine(about_z)]])
    x = np.array([[cosine(about_x), sine(about_x), 0], [-sine(about_x), cosine(about_x), 0], [0, 0, 1]])
    y = np.array([[cosine(about_y), 0, -sine(about_y)], [0, 1, 0], [sine(about_y), 0, cosine(about_y)]])
    return y @ x @ z
