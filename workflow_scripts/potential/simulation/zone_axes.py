"""The orthogonal cell of a crystal along a zone axis: multislice needs a rectangular box, few unit cells are one."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from ase.geometry import minkowski_reduce
from scipy.spatial import cKDTree

# Cells within the first are exact but for rounded lattice parameters; up to the second the crystal is strained to fit.
_EXACT_DEG = 0.02
TOLERANCE_DEG = 0.5
LARGEST_SIDE_A = 60.0
# An exact cell is preferred to a strained one unless it is this many times larger.
_WORTH = 4.0
# Fractional coordinates agree within this distance: those of files are rounded.
_SAME_A = 0.05
_MAX_VECTORS = 1500  # perpendicular to the beam, shortest first
_MAX_ATOMS = 1000  # in larger cells no translations are searched, since all pairs of atoms would be tried


@dataclass(frozen=True)
class Box:
    """Atoms in an orthogonal cell that repeats.

    positions_a: float64 (N, 3) [z, y, x] in Å, inside the cell.
    cell_a: depth, height and width in Å.
    source: int (N,), the atom of the given cell that each one is a copy of.
    """

    positions_a: np.ndarray
    cell_a: tuple[float, float, float]
    source: np.ndarray


def orthogonal_box(
    cell_a: np.ndarray, fractional: np.ndarray, numbers: np.ndarray, zone_axis: tuple[int, int, int]
) -> Box:
    """The smallest orthogonal cell that has the zone axis as its z axis.

    Candidates are all lattice vectors up to 60 Å, those of centred cells included; the cell's x axis lies as close
    to the first axes of the given cell as it can. Where angles are off by up to 0.5° the crystal is strained to fit.

    Args:
        cell_a: (3, 3) lattice vectors as rows, Å, in right- or left-handed order.
        fractional: (N, 3) coordinates along the lattice vectors.
        numbers: (N,) atomic numbers.
        zone_axis: indices [u v w] of the beam direction, along the given lattice vectors.

    Raises:
        ValueError: no cell is orthogonal within 0.5° with sides of at most 60 Å.
    """
    beam = np.asarray(zone_axis) @ cell_a
    # Lattice vectors are searched in the reduced cell: along the vectors of a skew cell there would be many more steps.
    reduced_a, change = minkowski_reduce(cell_a)
    change = np.asarray(change, dtype=np.float64)  # integers, reduced = change @ given
    fractional = _wrapped(fractional @ np.linalg.inv(change))
    steps = _lattice_vectors(reduced_a, _centring(reduced_a, fractional, numbers), change)  # (M, 3)
    vectors = steps @ reduced_a  # Å
    beam = beam / np.linalg.norm(beam)
    along = vectors @ beam / np.linalg.norm(vectors, axis=1)  # (M,) cosines
    parallel = np.flatnonzero(along > 1 - 1e-9)
    if not len(parallel):
        raise ValueError(f"the crystal repeats only after more than {LARGEST_SIDE_A:g} Å along [{_text(zone_axis)}]")
    best = None
    for tolerance_deg in (TOLERANCE_DEG, _EXACT_DEG):
        pair = _smallest_pair(steps @ change, vectors, np.abs(along), beam, tolerance_deg)
        if pair is not None and (best is None or pair[0] <= _WORTH * best[0]):
            best = pair
    if best is None:
        raise ValueError(
            f"along [{_text(zone_axis)}] no cell with sides up to {LARGEST_SIDE_A:g} Å is orthogonal "
            f"within {TOLERANCE_DEG:g}°"
        )
    chosen = [best[1], best[2], parallel[0]]
    return _filled(fractional, steps[chosen], vectors[chosen])


def _text(indices: tuple[int, int, int]) -> str:
    return " ".join(str(index) for index in indices)


def _centring(cell_a: np.ndarray, fractional: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(T, 3) translations within the cell that leave the crystal as it is, in fractions; the first is zero."""
    if len(numbers) > _MAX_ATOMS:
        return np.zeros((1, 3))
    kinds, counts = np.unique(numbers, return_counts=True)
    trees = {kind: cKDTree(_wrapped(fractional[numbers == kind]), boxsize=1.0) for kind in kinds}

    def covered(atoms: np.ndarray, shift: np.ndarray) -> bool:
        """Whether all these atoms lie on atoms of their kind after the shift."""
        for kind, tree in trees.items():
            moved = _wrapped(fractional[atoms & (numbers == kind)] + shift)
            if len(moved):
                difference = moved - tree.data[tree.query(moved)[1]]
                distance_a = np.linalg.norm((difference - difference.round()) @ cell_a, axis=1)
                if distance_a.max() > _SAME_A:
                    return False
        return True

    all_atoms = np.ones(len(numbers), dtype=bool)
    first_atoms = np.arange(len(numbers)) < 8  # most shifts fail already for these atoms
    rarest = np.flatnonzero(numbers == kinds[counts.argmin()])
    centring = [np.zeros(3)]
    for other in rarest[1:]:
        shift = fractional[other] - fractional[rarest[0]]
        if covered(first_atoms, shift) and covered(all_atoms, shift):
            centring.append(_rational(shift % 1.0))
    return np.array(centring)


def _wrapped(fractional: np.ndarray) -> np.ndarray:
    wrapped = fractional % 1.0
    return np.where(wrapped >= 1.0, 0.0, wrapped)  # the remainder of a tiny negative number rounds to one


def _rational(shift: np.ndarray) -> np.ndarray:
    """A translation as it would be without rounding: multiples of 1/24 where close, as centred lattices have."""
    nearest = (shift * 24).round() / 24
    return np.where(np.abs(shift - nearest) < 5e-4, nearest, shift)


def _lattice_vectors(cell_a: np.ndarray, centring: np.ndarray, change: np.ndarray) -> np.ndarray:
    """All lattice vectors up to the largest side, by length: (M, 3) in steps along the cell."""
    # |n_i| = |r · a*_i| ≤ |r| |a*_i|
    limits = np.ceil(LARGEST_SIDE_A * np.linalg.norm(np.linalg.inv(cell_a), axis=0)).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), axis=-1).reshape(-1, 3)
    parts = []
    for shift in centring:
        steps = grid + shift
        lengths = np.linalg.norm(steps @ cell_a, axis=1)
        parts.append(steps[(lengths <= LARGEST_SIDE_A) & (lengths > 1e-6)])
    steps = np.concatenate(parts)
    # Ties are broken by the indices in the given cell, so that the choice depends on nothing else.
    indices = (steps @ change).round(6)
    lengths = np.linalg.norm(steps @ cell_a, axis=1).round(9)
    return steps[np.lexsort((*-indices.T[::-1], np.abs(indices).sum(1), lengths))]


def _smallest_pair(
    steps: np.ndarray, vectors: np.ndarray, along: np.ndarray, beam: np.ndarray, tolerance_deg: float
) -> tuple[float, int, int] | None:
    """Area in Å² and places of the two vectors across the beam that span the smallest rectangle; x and y.

    Args:
        steps: (M, 3) the vectors along the given cell.
        vectors: (M, 3) Å.
        along: (M,) cosines between vector and beam, without sign.
        beam: (3,) of length 1.
        tolerance_deg: how far an angle may be off 90°.
    """
    sine = math.sin(math.radians(tolerance_deg))
    across = np.flatnonzero(along <= sine)[:_MAX_VECTORS]
    lengths = np.linalg.norm(vectors[across], axis=1)
    cosines = np.abs(vectors[across] @ vectors[across].T) / (lengths[:, None] * lengths)
    first_axis = np.cross(beam, np.eye(3)[np.abs(beam).argmin()])
    first_axis /= np.linalg.norm(first_axis)
    u, v = vectors[across] @ first_axis, vectors[across] @ np.cross(beam, first_axis)
    signed_area = u[:, None] * v - v[:, None] * u  # (K, K), positive where x, y and the beam are right-handed
    area = np.where((cosines <= sine) & (signed_area > 0), lengths[:, None] * lengths, np.inf)
    if not np.isfinite(area).any():
        return None
    best = np.argwhere(area <= area.min() * (1 + 1e-6))
    simple = np.abs(steps[across]).sum(axis=1)

    def key(pair: np.ndarray) -> tuple:
        first, second = pair
        return (
            round(float(cosines[first, second]), 9),
            round(float(simple[first]), 6),
            *(-steps[across[first]]).round(6),
            *(-steps[across[second]]).round(6),
        )

    first, second = min(best, key=key)
    return float(area[first, second]), int(across[first]), int(across[second])


def _filled(fractional: np.ndarray, steps: np.ndarray, vectors: np.ndarray) -> Box:
    """The atoms of the crystal in the cell that is spanned by vectors x, y, z, put into a box of their lengths."""
    ratio = abs(np.linalg.det(steps))
    corners = np.array(list(itertools.product((0, 2), repeat=3))) @ steps
    ranges = [
        range(math.floor(low) - 1, math.ceil(high)) for low, high in zip(corners.min(0), corners.max(0), strict=True)
    ]
    cells = np.array(list(itertools.product(*ranges)))  # (C, 3)
    within = ((fractional[:, None] + cells) @ np.linalg.inv(steps)).reshape(-1, 3)
    source = np.repeat(np.arange(len(fractional)), len(cells))
    # The faces of the cell are put where no atoms are, so that rounding does not decide which atoms are inside.
    lowest = np.array([_widest_gap(axis) for axis in within.T])
    inside = ((within >= lowest) & (within < lowest + 1)).all(axis=1)
    within, source = within[inside], source[inside]
    if len(within) != round(len(fractional) * ratio):
        raise ValueError(f"{len(within)} atoms in the orthogonal cell, expected {len(fractional) * ratio:g}")
    within = np.where(np.abs(within - within.round()) < 1e-7, within.round(), within)
    within = _wrapped(within)
    lengths = np.linalg.norm(vectors, axis=1)
    positions = (within * lengths)[:, ::-1]
    width, height, depth = (float(length) for length in lengths)
    return Box(np.ascontiguousarray(positions), (depth, height, width), source)


def _widest_gap(coordinates: np.ndarray) -> float:
    """The middle, between 0 and 1, of the widest interval without a coordinate, all taken modulo 1."""
    ordered = np.unique(_wrapped(coordinates))
    gaps = np.diff(ordered, append=ordered[0] + 1)
    return float((ordered[gaps.argmax()] + gaps.max() / 2) % 1)
