"""Crystals: two built-in ones, and any from a .cif; each mistake in a file raises a sentence that names it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.geometry import cellpar_to_cell
from ase.io.cif import CIFBlock
from ase.spacegroup import Spacegroup
from ase.spacegroup.spacegroup import parse_sitesym

from workflow_scripts.formats import cif
from workflow_scripts.workflow.errors import InputError

# Where no measured value is at hand: B in Å², of the order of most oxides at room temperature, and of soft crystals
# of molecules or chains (those that hold both carbon and hydrogen).
DEFAULT_DEBYE_WALLER_A2, SOFT_DEBYE_WALLER_A2 = 0.5, 4.0


@dataclass(frozen=True, eq=False)
class Crystal:
    """One cell of a crystal.

    name: as figures and reports call it.
    lattice_a: float64 (3, 3), rows a, b, c in Å: a along x, b in the plane of x and y, as ase has it.
    fractional: float64 (A, 3), 0 ≤ coordinate < 1.
    numbers: int (A,) atomic numbers.
    occupancy: float64 (A,), share of the cells in which the site holds this atom.
    debye_waller_a2: float64 (A,) isotropic Debye–Waller factors B = 8π²⟨u²⟩ in Å², ⟨u²⟩ along one direction.
    """

    name: str
    lattice_a: np.ndarray
    fractional: np.ndarray
    numbers: np.ndarray
    occupancy: np.ndarray
    debye_waller_a2: np.ndarray

    @property
    def volume_a3(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.lattice_a)))

    @property
    def reciprocal_per_a(self) -> np.ndarray:
        """(3, 3), rows a*, b*, c* in 1/Å, without 2π: a · a* = 1."""
        return np.linalg.inv(self.lattice_a).T

    @property
    def symbols(self) -> tuple[str, ...]:
        """(A,) elements."""
        return tuple(chemical_symbols[number] for number in self.numbers)


def _polyethylene() -> Crystal:
    """Orthorhombic, Pnam, two chains along c: cell and carbon of Bunn (doi:10.1039/TF9393500482).

    Hydrogens, which he did not locate, at C–H 1.09 Å in the plane of their carbon across c, with the tetrahedral angle
    between them.
    """
    cell = cellpar_to_cell((7.40, 4.93, 2.534, 90, 90, 90))
    sites = np.array([[0.038, 0.065, 0.25], [0.00369, 0.28002, 0.25], [0.18449, 0.04188, 0.25]])
    numbers = np.array([atomic_numbers[symbol] for symbol in ("C", "H", "H")])
    operations = [
        *("x,y,z", "-x,-y,z+1/2", "x+1/2,-y+1/2,-z+1/2", "-x+1/2,y+1/2,-z"),
        *("-x,-y,-z", "x,y,-z+1/2", "-x+1/2,y+1/2,z+1/2", "x+1/2,-y+1/2,z"),
    ]
    unit = Crystal("polyethylene", cell, sites, numbers, np.ones(3), np.full(3, SOFT_DEBYE_WALLER_A2))
    return _expanded(unit, parse_sitesym(operations))


def _silicon() -> Crystal:
    """Lattice parameter: CODATA 2022 (doi:10.1103/RevModPhys.97.025002)."""
    cell = cellpar_to_cell((5.43102, 5.43102, 5.43102, 90, 90, 90))
    numbers = np.array([atomic_numbers["Si"]])
    unit = Crystal("silicon", cell, np.zeros((1, 3)), numbers, np.ones(1), np.full(1, DEFAULT_DEBYE_WALLER_A2))
    return _expanded(unit, Spacegroup(227).get_op())


BUILT_IN = {"polyethylene": _polyethylene, "silicon": _silicon}


def load(crystal: str) -> Crystal:
    """The crystal that a setting names: a built-in one, or the path of a .cif.

    Raises:
        InputError: it is neither, or the file cannot be used.
    """
    if crystal in BUILT_IN:
        return BUILT_IN[crystal]()
    if not crystal.lower().endswith(".cif"):
        raise InputError(f"there is no crystal {crystal!r}; take {', '.join(BUILT_IN)}, or the path of a .cif")
    return read_crystal(Path(crystal))


def read_crystal(path: Path) -> Crystal:
    """A crystal from a .cif, with all symmetry operations applied.

    Choices: images of a site within 0.1 Å are one atom. A partial occupancy stays, as a weight of the atom's scattering
    factor: the mean over all cells, without the diffuse scattering of the disorder. Sites of one element at one place
    are one, with the sum of their occupancies, at most 1; different elements share a place. A site of
    occupancy 0 is left out. Isotropic B (or U, B = 8π²U) is read; without it B is 4 Å² in crystals with carbon and
    hydrogen, else 0.5 Å². Of several data blocks the only one with atoms counts.

    Args:
        path: .cif.

    Raises:
        InputError: the file is absent, damaged or too large, holds no atoms or several structures, an unknown
            element, occupancies or a cell that cannot be, or a space group whose operations are not known.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    try:
        with path.open("rb") as file:
            content = file.read(cif.LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy the file again") from None
    if len(content) > cif.LARGEST_FILE_BYTES:
        raise InputError(
            f"{path}: found more than {cif.LARGEST_FILE_BYTES >> 20} MiB, expected the cell of one crystal"
        )
    if not content.strip():
        raise InputError(f"{path}: the file is empty; export the structure again")
    try:
        return _of_file(content, path)
    except cif.StructureError as error:
        raise InputError(f"{path}: {error}") from None


def _of_file(content: bytes, path: Path) -> Crystal:
    block = cif.structure_block(content)
    symbols, sites = cif.sites(block)
    lattice_a = cif.cell(block)
    occupancy = _optional(block, "_atom_site_occupancy", np.ones(len(sites)), path)
    if occupancy.min() < 0 or occupancy.max() > 1.001:
        wrong = occupancy[(occupancy < 0) | (occupancy > 1.001)][0]
        raise InputError(f"{path}: found the occupancy {wrong:g}, expected 0 to 1; correct the site")
    soft = {"C", "H"} <= set(symbols)
    factors = np.full(len(sites), SOFT_DEBYE_WALLER_A2 if soft else DEFAULT_DEBYE_WALLER_A2)
    factors = _optional(block, "_atom_site_u_iso_or_equiv", factors / (8 * math.pi**2), path) * 8 * math.pi**2
    factors = _optional(block, "_atom_site_b_iso_or_equiv", factors, path)
    if factors.min() < 0 or factors.max() > 100:
        raise InputError(
            f"{path}: found Debye–Waller factors B of {factors.min():.3g} to {factors.max():.3g} Å², "
            "expected 0 to 100 Å²; correct them or their unit"
        )
    operations = cif.operations(block, lattice_a)
    cif.check_count(len(sites), len(operations[0]))
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    crystal = _expanded(Crystal(path.stem, lattice_a, sites, numbers, occupancy, factors), operations)
    _check(crystal, path)
    return crystal


def _expanded(unit: Crystal, operations: tuple[np.ndarray, np.ndarray]) -> Crystal:
    """The whole cell from its asymmetric unit; sites of one element at one place become one."""
    rotations, translations = operations
    places: list[np.ndarray] = []
    atoms: list[tuple[int, float, float]] = []
    columns = unit.fractional, unit.numbers, unit.occupancy, unit.debye_waller_a2
    for site, number, share, factor in zip(*columns, strict=True):
        if share <= 0:
            continue
        for image in cif.distinct((rotations @ site + translations) % 1.0, unit.lattice_a):
            close = _close(np.array(places).reshape(-1, 3), image, unit.lattice_a, cif.ONE_SITE_A)
            same_element = [atom for atom in close if atoms[atom][0] == number]
            if same_element:
                _, share_before, factor_before = atoms[same_element[0]]
                atoms[same_element[0]] = (number, min(1.0, share_before + share), factor_before)
            else:
                places.append(image)
                atoms.append((number, min(1.0, float(share)), float(factor)))
    fractional = np.array(places).reshape(-1, 3) % 1.0
    numbers, shares, factors = map(np.array, zip(*atoms, strict=True)) if atoms else np.zeros((3, 0))
    return Crystal(unit.name, unit.lattice_a, fractional, numbers.astype(np.int64), shares, factors)


def _close(places: np.ndarray, place: np.ndarray, lattice_a: np.ndarray, within_a: float) -> np.ndarray:
    """Indices of the places (P, 3) that lie within a distance in Å of one place (3,) or of its periodic images."""
    apart = places - place
    return np.flatnonzero(np.linalg.norm((apart - apart.round()) @ lattice_a, axis=-1) < within_a)


def _optional(block: CIFBlock, tag: str, default: np.ndarray, path: Path) -> np.ndarray:
    """A column of numbers (S,); the default where it is absent or has none."""
    values = cif.column(block, tag)
    if not values:
        return default
    if len(values) != len(default):
        raise InputError(f"{path}: found {len(values)} values of {tag} for {len(default)} sites; complete the list")
    filled = [other if value in (".", "?") else value for value, other in zip(values, default, strict=True)]
    return cif.numbers(filled, f"values of {tag}")


def _check(crystal: Crystal, path: Path) -> None:
    """Refuse atoms that cannot be those of a crystal."""
    atoms = len(crystal.numbers)
    if not atoms:
        raise InputError(f"{path}: found no atoms that occupy their sites; correct the occupancies")
    if atoms > cif.MOST_ATOMS:
        raise InputError(f"{path}: found {atoms} atoms, expected at most {cif.MOST_ATOMS}; cut out one cell")
    filled = float(crystal.occupancy.sum())
    if crystal.volume_a3 < cif.SMALLEST_ATOM_A3 * filled:
        raise InputError(
            f"{path}: found {filled:g} atoms in a cell of {crystal.volume_a3:.3g} Å³, "
            f"expected at least {cif.SMALLEST_ATOM_A3:g} Å³ for each; correct the cell or its unit"
        )
    for atom, place in enumerate(crystal.fractional):
        close = _close(crystal.fractional, place, crystal.lattice_a, cif.CLOSEST_A)
        if (total := float(crystal.occupancy[close].sum())) > 1.02:
            raise InputError(
                f"{path}: found atoms within {cif.CLOSEST_A} Å of {crystal.symbols[atom]} whose occupancies add"
                f" up to {total:.3g}, expected at most 1; remove doubled atoms or give partial occupancies"
            )
