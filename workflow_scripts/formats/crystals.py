"""The user's crystals from .cif and .cube files, also with .gz: one unit cell with all its atoms."""

import io
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import ase
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.io.cube import read_cube
from ase.neighborlist import neighbor_list
from gemmi.cif import Block

from workflow_scripts.formats import cif
from workflow_scripts.formats.cif import StructureError
from workflow_scripts.formats.endings import CIF, CUBE, has_ending, without_ending
from workflow_scripts.formats.files import read_content
from workflow_scripts.workflow.arrays import reason
from workflow_scripts.workflow.errors import InputError

# B in Å² if the file has none: typical of oxides at room temperature, and of soft crystals of molecules or chains (with
# both carbon and hydrogen).
DEFAULT_DEBYE_WALLER_A2, SOFT_DEBYE_WALLER_A2 = 0.5, 4.0
_LARGEST_FILE_BYTES = 20 * 2**20
_MOST_ATOMS = 20_000
_SMALLEST_ATOM_A3 = 2.0
_CLOSEST_A = 0.3
# Symmetry-equivalent positions closer than this are one atom: coordinates in files are rounded.
_ONE_SITE_A = 0.1


@dataclass(frozen=True, eq=False)
class Crystal:
    """One cell of a crystal.

    name: for figures and reports.
    lattice_a: float64 (3, 3), rows a, b, c in Å; from a .cif, a is along x and b in the xy plane.
    fractional: float64 (A, 3).
    numbers: int (A,) atomic numbers.
    occupancy: float64 (A,), fraction of the cells in which the site is occupied by this atom.
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

    def atoms(self) -> ase.Atoms:
        """The atoms, regardless of their occupancy."""
        return ase.Atoms(self.numbers, scaled_positions=self.fractional, cell=self.lattice_a, pbc=True)


def read_crystal(path: Path, ordered: bool = False) -> Crystal:
    """A crystal from a .cif or .cube file, or from either with .gz.

    A .cif is expanded by all symmetry operations; equivalent positions within 0.1 Å are one atom. A partial occupancy
    weights the scattering factor of the atom: the mean over all cells, without diffuse scattering from disorder. Sites
    of the same element at the same position are merged and their occupancies added, up to 1; different elements may
    share a position. Sites of occupancy 0 are left out. Isotropic B (or U, B = 8π²U) is read; without it B is 4 Å² in
    crystals with carbon and hydrogen, otherwise 0.5 Å². Only one data block may contain atoms.

    From a .cube only cell and atoms are read: a Hartree potential in it is that of pseudo-cores, not the potential that
    scatters fast electrons.

    Args:
        path: the file.
        ordered: refuse partial occupancies, atoms that are listed twice, and a list of atoms that differs from the
            stated formula; Debye–Waller factors are not read.

    Raises:
        InputError: the file is absent, damaged, too large or of another format, holds no atoms or several structures,
        an
            unknown element, an impossible cell or occupancy, or a space group whose operations are not known.
    """
    if not has_ending(path, CIF + CUBE):
        raise InputError(f"{path}: found the ending {path.suffix!r}, expected .cif or .cube, or either with .gz")
    is_cif = has_ending(path, CIF)
    content = read_content(path, _LARGEST_FILE_BYTES, "the cell of one crystal", whole=is_cif)
    try:
        crystal = _from_cif(content, ordered) if is_cif else _from_cube(content)
        _check(crystal)
    except StructureError as error:
        raise InputError(f"{path}: {error}") from None
    return replace(crystal, name=without_ending(path))


def expanded(unit: Crystal, operations: tuple[np.ndarray, np.ndarray]) -> Crystal:
    """The whole cell from its asymmetric unit: the distinct equivalent positions of every site.

    Args:
        unit: the asymmetric unit.
        operations: (n, 3, 3) rotations and (n, 3) translations.
    """
    rotations, translations = operations
    images = [_distinct((rotations @ site + translations) % 1.0, unit.lattice_a) for site in unit.fractional]
    site = np.repeat(np.arange(len(images)), [len(of_one_site) for of_one_site in images])
    return replace(_atoms_of(unit, site), fractional=np.concatenate(images))


def merged(crystal: Crystal) -> Crystal:
    """The crystal with atoms of one element at one position merged and occupancies added; coordinates in [0, 1)."""
    occupancy, different = crystal.occupancy.copy(), []
    for atom in np.flatnonzero(occupancy > 0):
        apart = crystal.fractional[different] - crystal.fractional[atom]
        distance_a = np.linalg.norm((apart - apart.round()) @ crystal.lattice_a, axis=-1)
        same = np.array(different, int)[distance_a < _ONE_SITE_A]
        same = same[crystal.numbers[same] == crystal.numbers[atom]]
        if len(same):
            occupancy[same[0]] = min(1.0, occupancy[same[0]] + occupancy[atom])
        else:
            different.append(atom)
    atoms = _atoms_of(replace(crystal, occupancy=np.minimum(occupancy, 1.0)), np.array(different, int))
    return replace(atoms, fractional=atoms.fractional % 1.0)


def _atoms_of(crystal: Crystal, index: np.ndarray) -> Crystal:
    columns = ("fractional", "numbers", "occupancy", "debye_waller_a2")
    return replace(crystal, **{name: getattr(crystal, name)[index] for name in columns})


def _distinct(images: np.ndarray, lattice_a: np.ndarray) -> np.ndarray:
    """Distinct positions among the equivalent ones (n, 3) of a site; those closer than `_ONE_SITE_A` are averaged."""
    apart = images[None] - images[:, None]  # (n, n, 3)
    apart -= apart.round()
    close = np.linalg.norm(apart @ lattice_a, axis=-1) < _ONE_SITE_A
    middles = images + (apart * close[..., None]).sum(axis=1) / close.sum(axis=1, keepdims=True)
    return middles[close.argmax(axis=1) == np.arange(len(images))]


def _from_cif(content: bytes, ordered: bool) -> Crystal:
    block = cif.structure_block(content)
    symbols, sites = cif.sites(block)
    lattice_a = cif.cell(block)
    occupancy = _optional(block, "_atom_site_occupancy", np.ones(len(sites)))
    lowest, highest = (1 - 1e-3, 1 + 1e-3) if ordered else (0.0, 1.001)
    wrong = occupancy[(occupancy < lowest) | (occupancy > highest)]
    if len(wrong):
        expected = "1 everywhere; give an ordered structure" if ordered else "0 to 1; correct the site"
        raise StructureError(f"found the occupancy {wrong[0]:g}, expected {expected}")
    operations = cif.operations(block, lattice_a)
    if len(sites) * len(operations[0]) > 10 * _MOST_ATOMS:
        raise StructureError(f"found {len(sites)} sites and {len(operations[0])} operations; cut out one cell")
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    factors = np.full(len(sites), DEFAULT_DEBYE_WALLER_A2) if ordered else _debye_waller_a2(block, symbols)
    crystal = expanded(Crystal("", lattice_a, sites, numbers, occupancy, factors), operations)
    if not ordered:
        return merged(crystal)
    _check_formula(block, Counter(crystal.symbols))
    return crystal


def _debye_waller_a2(block: Block, symbols: list[str]) -> np.ndarray:
    is_soft = {"C", "H"} <= set(symbols)
    factors = np.full(len(symbols), SOFT_DEBYE_WALLER_A2 if is_soft else DEFAULT_DEBYE_WALLER_A2)
    factors = _optional(block, "_atom_site_u_iso_or_equiv", factors / (8 * math.pi**2)) * 8 * math.pi**2
    factors = _optional(block, "_atom_site_b_iso_or_equiv", factors)
    if factors.min() < 0 or factors.max() > 100:
        raise StructureError(
            f"found Debye–Waller factors B of {factors.min():.3g} to {factors.max():.3g} Å², "
            "expected 0 to 100 Å²; correct them or their unit"
        )
    return factors


def _optional(block: Block, tag: str, default: np.ndarray) -> np.ndarray:
    """A column of numbers (S,); absent columns and unknown values are replaced by the default."""
    values = cif.column(block, tag)
    if not values:
        return default
    if len(values) != len(default):
        raise StructureError(f"found {len(values)} values of {tag} for {len(default)} sites; complete the list")
    filled = [other if value in (".", "?") else value for value, other in zip(values, default, strict=True)]
    return cif.numbers(filled, f"values of {tag}")


def _check_formula(block: Block, counts: Counter) -> None:
    """Compare the atoms with the formula in the file, to notice a file that is truncated within the list of atoms."""
    stated = " ".join(cif.column(block, "_chemical_formula_sum")[:1])
    if not re.fullmatch(r"(\s*[A-Z][a-z]?(\d+(\.\d*)?)?)+\s*", stated):
        return
    parts = re.findall(r"([A-Z][a-z]?)(\d*(?:\.\d*)?)", stated)
    expected: Counter = Counter()
    for symbol, count in parts:
        expected["H" if symbol == "D" else symbol] += float(count or 1)
    scale = counts.total() / (expected.total() or 1.0)
    if any(abs(counts[symbol] - scale * expected[symbol]) > 0.02 * counts.total() for symbol in counts | expected):
        atoms = " ".join(f"{symbol}{count}" for symbol, count in sorted(counts.items()))
        raise StructureError(
            f"found the atoms {atoms}, expected the ratios of its formula {stated}; complete the list of atoms"
        )


def _from_cube(content: bytes) -> Crystal:
    try:
        lines = content.decode("utf-8", errors="replace").splitlines()[: _MOST_ATOMS + 10]
        counts = [int(line.split()[0]) for line in lines[2:6]]
        if abs(counts[0]) > _MOST_ATOMS:
            raise StructureError(f"found {abs(counts[0])} atoms, expected at most {_MOST_ATOMS}; cut out one cell")
        if min(counts[1:]) < 1:
            raise StructureError(f"found {counts[1:]} voxels, expected positive numbers, which mean Bohr; export again")
        # Only the cell and the atoms are read; the grid may be truncated.
        atoms = read_cube(io.StringIO("\n".join(lines)), read_data=False)["atoms"]
        if atoms.get_volume() < _SMALLEST_ATOM_A3:
            raise StructureError(f"found a cell of {atoms.get_volume():.3g} Å³; correct the cell or its unit")
        fractional = atoms.get_scaled_positions(wrap=False)
    except StructureError:
        raise
    except Exception as error:  # the reader raises errors of many kinds
        raise StructureError(f"not a whole .cube file ({reason(error)}); export or copy the file again") from None
    ones = np.ones(len(atoms))
    return Crystal("", np.array(atoms.cell), fractional, atoms.numbers, ones, ones * DEFAULT_DEBYE_WALLER_A2)


def _check(crystal: Crystal) -> None:
    """Raise StructureError where number, elements, positions or occupancies of the atoms are impossible."""
    count, sides = len(crystal.numbers), np.linalg.norm(crystal.lattice_a, axis=1)
    if not count:
        raise StructureError("found no atoms that occupy their sites; complete the list, or correct the occupancies")
    if count > _MOST_ATOMS:
        raise StructureError(f"found {count} atoms, expected at most {_MOST_ATOMS}; cut out one cell")
    if not np.isfinite(crystal.lattice_a).all() or not np.isfinite(crystal.fractional).all():
        raise StructureError("found a cell or positions that are no finite numbers; export the structure again")
    if crystal.numbers.min() < 1 or crystal.numbers.max() > cif.HEAVIEST:
        unknown = crystal.numbers[(crystal.numbers < 1) | (crystal.numbers > cif.HEAVIEST)][0]
        raise StructureError(f"found the atomic number {unknown}, expected 1 to {cif.HEAVIEST}; correct the atom")
    cif.check_sides(sides)
    filled = float(crystal.occupancy.sum())
    if crystal.volume_a3 < max(0.05 * sides.prod(), _SMALLEST_ATOM_A3 * filled):
        raise StructureError(
            f"found {filled:g} atoms in a cell of {crystal.volume_a3:.3g} Å³, "
            f"expected at least {_SMALLEST_ATOM_A3:g} Å³ for each; correct the cell or its unit"
        )
    first, second = neighbor_list("ij", crystal.atoms(), _CLOSEST_A)
    shared = crystal.occupancy + np.bincount(first, crystal.occupancy[second], minlength=count)
    if shared.max() > 1.02:
        atom = int(shared.argmax())
        raise StructureError(
            f"found atoms within {_CLOSEST_A} Å of {crystal.symbols[atom]} whose occupancies add up to"
            f" {shared[atom]:.3g}, expected at most 1; remove doubled or disordered atoms, or give partial occupancies"
        )
