"""The user's crystals: .cif and .cube files, also compressed; each mistake is reported in one sentence."""

import gzip
import io
import re
import warnings
import zlib
from collections import Counter
from pathlib import Path

import ase
import numpy as np
from ase.io.cif import CIFBlock
from ase.io.cube import read_cube
from ase.neighborlist import neighbor_list

from workflow_scripts.formats import cif
from workflow_scripts.potential.simulation.structures import Crystal, from_atoms
from workflow_scripts.workflow.errors import InputError


def read_structure(path: Path) -> Crystal:
    """A crystal from a .cif or .cube file as the smallest orthogonal cell along its c axis.

    A strain that brings angles from within 0.5° to 90° is accepted. Of a .cube only cell and atoms are taken: the
    Hartree potential that it may hold is one of pseudo-cores, not what fast electrons see. Of a .cif all symmetry
    operations are applied. The Debye–Waller factors are the default for all atoms.

    Args:
        path: .cif or .cube, or either with .gz.

    Returns:
        The crystal, its material being the name of the file.

    Raises:
        InputError: the file is absent, damaged, too large or no such file, describes no whole crystal, or has no
            orthogonal cell along the axis.
    """
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind not in ("cif", "cube"):
        raise InputError(f"{path}: found the ending {path.suffix!r}, expected .cif or .cube, or either with .gz")
    content = _content(path, whole=kind == "cif")
    try:
        with warnings.catch_warnings():
            # The reader warns where it leaves something out, an atom for example.
            warnings.simplefilter("error", UserWarning)
            atoms = _from_cif(content, path) if kind == "cif" else _from_cube(content, path)
    except InputError:
        raise
    except cif.StructureError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # the reader raises errors of many kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{path}: not a whole .{kind} file ({reason}); export the structure again, or copy the file again"
        ) from None
    name = re.sub(r"\.(cif|cube)(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    try:
        return from_atoms(name, atoms, (0, 0, 1), {})
    except ValueError as error:
        raise InputError(f"{path}: {error}; give an orthogonal cell") from None


def _content(path: Path, whole: bool) -> bytes:
    """The file's bytes, unpacked; the first of them only where the whole is not needed."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(cif.LARGEST_FILE_BYTES + 1) if whole else _beginning(file)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the file again") from None
    if not content.strip():
        raise InputError(f"{path}: the file is empty; export the structure again")
    if len(content) > cif.LARGEST_FILE_BYTES:
        raise InputError(
            f"{path}: found more than {cif.LARGEST_FILE_BYTES >> 20} MiB, expected the cell of one crystal"
        )
    return content


def _beginning(file: io.BufferedIOBase) -> bytes:
    """The lines of a .cube that can hold cell and atoms, since the potential behind them is not needed."""
    return b"".join(file.readline(1000) for _ in range(cif.MOST_ATOMS + 10))


def _from_cube(content: bytes, path: Path) -> ase.Atoms:
    lines = content.decode("utf-8", errors="replace").splitlines()
    counts = [int(line.split()[0]) for line in lines[2:6]]
    if abs(counts[0]) > cif.MOST_ATOMS:
        raise InputError(f"{path}: found {abs(counts[0])} atoms, expected at most {cif.MOST_ATOMS}; cut out one cell")
    if min(counts[1:]) < 1:
        raise InputError(f"{path}: found {counts[1:]} voxels, expected positive numbers, which mean Bohr; export again")
    # The cell and the atoms alone: the grid may be cut off.
    atoms = read_cube(io.StringIO("\n".join(lines)), read_data=False)["atoms"]
    _check(atoms, path)
    return atoms


def _from_cif(content: bytes, path: Path) -> ase.Atoms:
    block = cif.structure_block(content)
    symbols, sites = cif.sites(block)
    occupancy = [value for value in cif.column(block, "_atom_site_occupancy") if value not in (".", "?")]
    partly = [value for value in cif.numbers(occupancy, "occupancies") if abs(value - 1) > 1e-3]
    if partly:
        raise InputError(
            f"{path}: found a site with occupancy {partly[0]:g}, expected 1 everywhere; give an ordered structure"
        )
    cell_a = cif.cell(block)
    rotations, translations = cif.operations(block, cell_a)
    cif.check_count(len(sites), len(rotations))
    elements, fractional = [], []
    for symbol, site in zip(symbols, sites, strict=True):
        images = cif.distinct((rotations @ site + translations) % 1.0, cell_a)
        elements += [symbol] * len(images)
        fractional.append(images)
    atoms = ase.Atoms(elements, scaled_positions=np.concatenate(fractional), cell=cell_a, pbc=True)
    _check(atoms, path)
    _check_formula(block, Counter(elements), path)
    return atoms


def _check_formula(block: CIFBlock, counts: Counter, path: Path) -> None:
    """The atoms against the formula that the file states: a file that was cut off within the atoms has too few."""
    stated = str(block.get("_chemical_formula_sum", "")).strip("'\" ")
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", stated)
    if not re.fullmatch(r"(\s*[A-Z][a-z]?\d*\.?\d*)+\s*", stated):
        return
    expected: Counter = Counter()
    for symbol, count in parts:
        expected["H" if symbol == "D" else symbol] += float(count or 1)
    scale = sum(counts.values()) / sum(expected.values())
    if any(abs(counts[symbol] - scale * expected[symbol]) > 0.02 * counts.total() for symbol in counts | expected):
        atoms = " ".join(f"{symbol}{count}" for symbol, count in sorted(counts.items()))
        raise InputError(
            f"{path}: found the atoms {atoms}, expected the ratios of its formula {stated}; complete the list of atoms"
        )


def _check(atoms: ase.Atoms, path: Path) -> None:
    """Whether the atoms can be a crystal.

    Raises:
        InputError: they cannot.
    """
    if not len(atoms):
        raise InputError(f"{path}: found no atoms; export the structure again")
    if len(atoms) > cif.MOST_ATOMS:
        raise InputError(f"{path}: found {len(atoms)} atoms, expected at most {cif.MOST_ATOMS}; cut out one cell")
    cell_a = np.asarray(atoms.cell)
    if not np.isfinite(cell_a).all() or not np.isfinite(atoms.positions).all():
        raise InputError(f"{path}: found a cell or positions that are no finite numbers; export the structure again")
    unknown = [int(number) for number in atoms.numbers if not 1 <= number <= cif.HEAVIEST]
    if unknown:
        raise InputError(
            f"{path}: found the atomic number {unknown[0]}, expected 1 to {cif.HEAVIEST}; correct the atom"
        )
    sides = np.linalg.norm(cell_a, axis=1)
    cif.check_sides(sides)
    volume = abs(np.linalg.det(cell_a))
    if volume < 0.05 * sides.prod() or volume < cif.SMALLEST_ATOM_A3 * len(atoms):
        raise InputError(
            f"{path}: found {len(atoms)} atoms in a cell of {volume:.3g} Å³, "
            f"expected at least {cif.SMALLEST_ATOM_A3:g} Å³ for each; correct the cell or its unit"
        )
    first, distance = neighbor_list("id", ase.Atoms(atoms, pbc=True), cif.CLOSEST_A)
    if len(first):
        raise InputError(
            f"{path}: found two atoms {distance.min():.2f} Å apart, one of them {atoms.symbols[int(first[0])]}, "
            f"expected at least {cif.CLOSEST_A} Å; remove doubled or disordered atoms"
        )
