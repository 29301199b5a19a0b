"""The user's crystals: .cif and .cube files, also compressed; what is wrong with one is one sentence."""

import contextlib
import gzip
import io
import math
import re
import warnings
import zlib
from collections import Counter
from pathlib import Path

import ase
import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell
from ase.io.cif import CIFBlock, parse_cif
from ase.io.cube import read_cube
from ase.neighborlist import neighbor_list
from ase.spacegroup import Spacegroup
from ase.spacegroup.spacegroup import SpacegroupError, parse_sitesym

from workflow_scripts.potential.structures import Crystal, from_atoms
from workflow_scripts.workflow.errors import InputError

_LARGEST_FILE_BYTES = 20 * 2**20
_MOST_ATOMS = 20_000
_HEAVIEST = 103  # the last element whose scattering factors are known
_CELL_SIDES_A = (1.0, 500.0)
_ANGLES_DEG = (10.0, 170.0)
_SMALLEST_ATOM_A3 = 2.0
_CLOSEST_A = 0.3
# Images of a site under symmetry that lie closer than this are one atom: the coordinates are rounded.
_ONE_SITE_A = 0.1
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)


def read_structure(path: Path, zone_axis: tuple[int, int, int] = (0, 0, 1)) -> Crystal:
    """A crystal from a .cif or .cube file as the smallest orthogonal cell along a zone axis.

    A strain that brings angles from within 0.5° to 90° is accepted. Of a .cube only cell and atoms are taken: the
    Hartree potential that it may hold is one of pseudo-cores, not what fast electrons see. Of a .cif all symmetry
    operations are applied. The Debye–Waller factors are the default for all atoms.

    Args:
        path: .cif or .cube, or either with .gz.
        zone_axis: indices [u v w] of the beam direction along the cell vectors of the file.

    Returns:
        The crystal, its material being the name of the file.

    Raises:
        InputError: the file is absent, damaged, too large or no such file, describes no whole crystal, or has no
            orthogonal cell along the axis.
    """
    path = Path(path)
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind not in ("cif", "cube"):
        raise InputError(f"{path}: found the ending {path.suffix!r}, expected .cif or .cube, or either with .gz")
    if len(zone_axis) != 3 or not any(zone_axis) or max(map(abs, zone_axis)) > 10:
        raise InputError(f"{path}: the zone axis is {zone_axis}, expected three integers from -10 to 10, not all zero")
    content = _content(path, whole=kind == "cif")
    try:
        with warnings.catch_warnings():
            # The reader warns where it leaves something out, an atom for example.
            warnings.simplefilter("error", UserWarning)
            atoms = _from_cif(content, path) if kind == "cif" else _from_cube(content, path)
    except InputError:
        raise
    except Exception as error:  # the reader raises whatever it likes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{path}: not a whole .{kind} file ({reason}); export the structure again, or copy the file again"
        ) from None
    name = re.sub(r"\.(cif|cube)(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    try:
        return from_atoms(name, atoms, zone_axis, {})
    except ValueError as error:
        raise InputError(f"{path}: {error}; choose another zone axis, or give an orthogonal cell") from None


def _content(path: Path, whole: bool) -> bytes:
    """The file's bytes, unpacked; the first of them only where the whole is not needed."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1) if whole else _beginning(file)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the file again") from None
    if not content.strip():
        raise InputError(f"{path}: the file is empty; export the structure again")
    if len(content) > _LARGEST_FILE_BYTES:
        raise InputError(f"{path}: found more than {_LARGEST_FILE_BYTES >> 20} MiB, expected the cell of one crystal")
    return content


def _beginning(file: io.BufferedIOBase) -> bytes:
    """The lines of a .cube that can hold cell and atoms, since the potential behind them is not needed."""
    return b"".join(file.readline(1000) for _ in range(_MOST_ATOMS + 10))


def _from_cube(content: bytes, path: Path) -> ase.Atoms:
    lines = content.decode("utf-8", errors="replace").splitlines()
    counts = [int(line.split()[0]) for line in lines[2:6]]
    if abs(counts[0]) > _MOST_ATOMS:
        raise InputError(f"{path}: found {abs(counts[0])} atoms, expected at most {_MOST_ATOMS}; cut out one cell")
    if min(counts[1:]) < 1:
        raise InputError(f"{path}: found {counts[1:]} voxels, expected positive numbers, which mean Bohr; export again")
    # The cell and the atoms alone: the grid may be cut off.
    atoms = read_cube(io.StringIO("\n".join(lines)), read_data=False)["atoms"]
    _check(atoms, path)
    return atoms


def _from_cif(content: bytes, path: Path) -> ase.Atoms:
    blocks = [block for block in parse_cif(io.BytesIO(content)) if "_atom_site_fract_x" in block]
    if not blocks:
        raise InputError(f"{path}: found no atoms, expected a loop of _atom_site_fract_x, y and z; export it again")
    if len(blocks) > 1:
        raise InputError(f"{path}: found {len(blocks)} structures, expected one; keep one data block in the file")
    block = blocks[0]
    symbols = _symbols(block, path)
    sites = _numbers([_column(block, f"_atom_site_fract_{axis}") for axis in "xyz"], "coordinates", path).T
    if not len(sites):
        raise InputError(f"{path}: found no atoms in its loop of sites; complete the list of atoms")
    if len(sites) != len(symbols):
        raise InputError(
            f"{path}: found {len(symbols)} elements for {len(sites)} positions; complete the list of atoms"
        )
    occupancy = [value for value in _column(block, "_atom_site_occupancy") if value not in (".", "?")]
    partly = [value for value in _numbers(occupancy, "occupancies", path) if abs(value - 1) > 1e-3]
    if partly:
        raise InputError(
            f"{path}: found a site with occupancy {partly[0]:g}, expected 1 everywhere; give an ordered structure"
        )
    parameters = block.get_cellpar()
    if parameters is None:
        raise InputError(f"{path}: found no cell, expected _cell_length_a to _cell_angle_gamma; complete the file")
    parameters = _numbers(parameters, "cell parameters", path)
    _check_sides(parameters[:3], path)
    if parameters[3:].min() < _ANGLES_DEG[0] or parameters[3:].max() > _ANGLES_DEG[1]:
        raise InputError(
            f"{path}: found the cell angles {', '.join(f'{angle:g}' for angle in parameters[3:])}°, "
            f"expected {_ANGLES_DEG[0]:g} to {_ANGLES_DEG[1]:g}°; correct the cell"
        )
    cell_a = cellpar_to_cell(parameters)
    rotations, translations = _operations(block, float(parameters[5]), path)
    if len(rotations) * len(sites) > 10 * _MOST_ATOMS:
        raise InputError(f"{path}: found {len(sites)} sites and {len(rotations)} operations; cut out one cell")
    elements, fractional = [], []
    for symbol, site in zip(symbols, sites, strict=True):
        images = _distinct((rotations @ site + translations) % 1.0, cell_a)
        elements += [symbol] * len(images)
        fractional.append(images)
    atoms = ase.Atoms(elements, scaled_positions=np.concatenate(fractional), cell=cell_a, pbc=True)
    _check(atoms, path)
    _check_formula(block, Counter(elements), path)
    return atoms


def _column(block: CIFBlock, tag: str) -> list:
    values = block.get(tag, [])
    return values if isinstance(values, list) else [values]


def _numbers(values: list, what: str, path: Path) -> np.ndarray:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([math.nan])
    if not np.isfinite(numbers).all():
        raise InputError(f"{path}: found {what} that are no finite numbers; complete the file")
    return numbers


def _symbols(block: CIFBlock, path: Path) -> list[str]:
    """Elements from types such as Ga3+ or, where there are none, from labels such as SrA or O12."""
    symbols = []
    for text in _column(block, "_atom_site_type_symbol") or _column(block, "_atom_site_label"):
        match = re.match(r"[A-Z][a-z]?", str(text))
        symbol = {"D": "H", "T": "H"}.get(match[0], match[0]) if match else str(text)
        if atomic_numbers.get(symbol, 0) < 1:
            raise InputError(f"{path}: found the atom {text!r}, expected an element; name it in _atom_site_type_symbol")
        symbols.append(symbol)
    return symbols


def _operations(block: CIFBlock, gamma_deg: float, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, 3) rotations and (n, 3) translations: those that the file lists, else those of its space group.

    Raises:
        InputError: only the group is given, and it is unknown or has several settings.
    """
    for tag in _OPERATIONS:
        if listed := _column(block, tag):
            return parse_sitesym([str(operation).strip("'\" ") for operation in listed])
    name = block.get("_space_group_name_h-m_alt", block.get("_symmetry_space_group_name_h-m"))
    number = block.get("_space_group_it_number", block.get("_symmetry_int_tables_number"))
    if name is None and number is None:
        return np.eye(3, dtype=int)[None], np.zeros((1, 3))
    short, _, origin = str(name).strip("'\" ").replace("_", "").partition(":")
    words = short.split()
    if len(words) == 4 and words[1] == words[3] == "1":  # P 1 21/c 1
        words = [words[0], words[2]]
    groups = _settings(" ".join(words)) or _settings(int(number) if str(number).isdigit() else 0)
    if len(groups) == 2 and groups[0].lattice == "R":
        return groups[0 if abs(gamma_deg - 120) < 1 else 1].get_op()  # hexagonal axes show in their angle
    if len(groups) == 2 and origin in ("1", "2"):
        return groups[int(origin) - 1].get_op()
    if len(groups) != 1:
        raise InputError(
            f"{path}: found the space group {name or number}, which is {'ambiguous' if groups else 'not known'}; "
            f"list its operations in {_OPERATIONS[0]}"
        )
    return groups[0].get_op()


def _settings(group: str | int) -> list[Spacegroup]:
    """The settings in which a group of this name or number is known."""
    found = []
    for setting in (1, 2):
        with contextlib.suppress(SpacegroupError):
            found.append(Spacegroup(group, setting))
    return found


def _distinct(images: np.ndarray, cell_a: np.ndarray) -> np.ndarray:
    """Of the images (n, 3) of a site, the middle of each group that rounding alone sets apart: on the very axis."""
    apart = images[None] - images[:, None]  # (n, n, 3)
    apart -= apart.round()
    close = np.linalg.norm(apart @ cell_a, axis=-1) < _ONE_SITE_A
    middles = images + (apart * close[..., None]).sum(axis=1) / close.sum(axis=1, keepdims=True)
    return middles[close.argmax(axis=1) == np.arange(len(images))]


def _check_formula(block: CIFBlock, found: Counter, path: Path) -> None:
    """The atoms against the formula that the file states: a file that was cut off within the atoms has too few."""
    stated = str(block.get("_chemical_formula_sum", "")).strip("'\" ")
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", stated)
    if not re.fullmatch(r"(\s*[A-Z][a-z]?\d*\.?\d*)+\s*", stated):
        return
    expected: Counter = Counter()
    for symbol, count in parts:
        expected["H" if symbol == "D" else symbol] += float(count or 1)
    scale = sum(found.values()) / sum(expected.values())
    if any(abs(found[symbol] - scale * expected[symbol]) > 0.02 * found.total() for symbol in found | expected):
        atoms = " ".join(f"{symbol}{count}" for symbol, count in sorted(found.items()))
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
    if len(atoms) > _MOST_ATOMS:
        raise InputError(f"{path}: found {len(atoms)} atoms, expected at most {_MOST_ATOMS}; cut out one cell")
    cell_a = np.asarray(atoms.cell)
    if not np.isfinite(cell_a).all() or not np.isfinite(atoms.positions).all():
        raise InputError(f"{path}: found a cell or positions that are no finite numbers; export the structure again")
    unknown = [int(number) for number in atoms.numbers if not 1 <= number <= _HEAVIEST]
    if unknown:
        raise InputError(f"{path}: found the atomic number {unknown[0]}, expected 1 to {_HEAVIEST}; correct the atom")
    sides = np.linalg.norm(cell_a, axis=1)
    _check_sides(sides, path)
    volume = abs(np.linalg.det(cell_a))
    if volume < 0.05 * sides.prod() or volume < _SMALLEST_ATOM_A3 * len(atoms):
        raise InputError(
            f"{path}: found {len(atoms)} atoms in a cell of {volume:.3g} Å³, "
            f"expected at least {_SMALLEST_ATOM_A3:g} Å³ for each; correct the cell or its unit"
        )
    first, distance = neighbor_list("id", ase.Atoms(atoms, pbc=True), _CLOSEST_A)
    if len(first):
        raise InputError(
            f"{path}: found two atoms {distance.min():.2f} Å apart, one of them {atoms.symbols[int(first[0])]}, "
            f"expected at least {_CLOSEST_A} Å; remove doubled or disordered atoms"
        )


def _check_sides(sides_a: np.ndarray, path: Path) -> None:
    shortest, longest = _CELL_SIDES_A
    if sides_a.min() < shortest or sides_a.max() > longest:
        raise InputError(
            f"{path}: found a cell of {sides_a[0]:.3g} × {sides_a[1]:.3g} × {sides_a[2]:.3g} Å, "
            f"expected sides of {shortest:g} to {longest:g} Å; correct the cell or its unit"
        )
