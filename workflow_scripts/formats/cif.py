"""One crystal from a .cif: sites, cell and symmetry; a mistake is reported in one sentence, without the file's name.

ase parses the file; here its tables are checked, and symmetry is applied as files of many programs mean it.
"""

import contextlib
import io
import math
import re
import warnings

import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell
from ase.io.cif import CIFBlock, parse_cif
from ase.spacegroup import Spacegroup
from ase.spacegroup.spacegroup import SpacegroupError, parse_sitesym

LONGEST_LINE_BYTES = 20_000  # the format ends at 2048; the parser takes minutes for what is much longer
MOST_OPERATIONS = 192  # of a space group in its largest conventional cell
HEAVIEST = 103  # the last element whose scattering factors are known
CELL_SIDES_A = (1.0, 500.0)
_OPERATIONS = ("_space_group_symop_operation_xyz", "_space_group_symop.operation_xyz", "_symmetry_equiv_pos_as_xyz")


class StructureError(ValueError):
    """The text describes no crystal that can be used."""


def structure_block(content: bytes) -> CIFBlock:
    """The only data block with atoms.

    Raises:
        StructureError: there is none, or more than one, or the content is no whole .cif.
    """
    for number, line in enumerate(content.splitlines(), start=1):
        if len(line) > LONGEST_LINE_BYTES:
            raise StructureError(f"line {number} is too long for a .cif; export the structure again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # the reader warns where it leaves something out
            blocks = [block for block in parse_cif(io.BytesIO(content)) if "_atom_site_fract_x" in block]
    except Exception as error:  # the reader raises whatever it likes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise StructureError(
            f"not a whole .cif file ({reason}); export the structure again, or copy the file again"
        ) from None
    if not blocks:
        raise StructureError("found no atoms, expected a loop of _atom_site_fract_x, y and z; export it again")
    if len(blocks) > 1:
        raise StructureError(f"found {len(blocks)} structures, expected one; keep one data block in the file")
    return blocks[0]


def sites(block: CIFBlock) -> tuple[list[str], np.ndarray]:
    """Elements and fractional coordinates (S, 3) of the asymmetric unit.

    Elements are read from types such as Ga3+ or, where there are none, from labels such as SrA or O12.

    Raises:
        StructureError: there are none, they do not fit each other, or an element is unknown.
    """
    places = numbers([column(block, f"_atom_site_fract_{axis}") for axis in "xyz"], "coordinates").T
    if not len(places):
        raise StructureError("found no atoms in its loop of sites; complete the list of atoms")
    symbols = []
    for text in column(block, "_atom_site_type_symbol") or column(block, "_atom_site_label"):
        match = re.match(r"[A-Z][a-z]?", str(text))
        symbol = {"D": "H", "T": "H"}.get(match[0], match[0]) if match else str(text)
        if not 1 <= atomic_numbers.get(symbol, 0) <= HEAVIEST:
            raise StructureError(f"found the atom {text!r}, expected an element; name it in _atom_site_type_symbol")
        symbols.append(symbol)
    if len(places) != len(symbols):
        raise StructureError(f"found {len(symbols)} elements for {len(places)} positions; complete the list of atoms")
    return symbols, places


def cell(block: CIFBlock) -> np.ndarray:
    """Rows a, b, c in Å: a along x, b in the plane of x and y.

    Raises:
        StructureError: there is none, or it is impossible.
    """
    parameters = block.get_cellpar()
    if parameters is None:
        raise StructureError("found no cell, expected _cell_length_a to _cell_angle_gamma; complete the file")
    parameters = numbers(parameters, "cell parameters")
    check_sides(parameters[:3])
    cosines = np.cos(np.deg2rad(parameters[3:]))
    # The squared volume of a cell with sides of 1.
    squared = 1 - (cosines**2).sum() + 2 * cosines.prod()
    if parameters[3:].min() <= 0 or parameters[3:].max() >= 180 or squared < 0.01:
        angles = ", ".join(f"{angle:g}" for angle in parameters[3:])
        raise StructureError(f"found the cell angles {angles}°, which no cell has; correct the cell")
    return np.asarray(cellpar_to_cell(parameters))


def check_sides(sides_a: np.ndarray) -> None:
    """Raise StructureError where sides (3,) of a cell cannot be those of a crystal in Å."""
    shortest, longest = CELL_SIDES_A
    if sides_a.min() < shortest or sides_a.max() > longest:
        raise StructureError(
            f"found a cell of {sides_a[0]:.3g} × {sides_a[1]:.3g} × {sides_a[2]:.3g} Å, "
            f"expected sides of {shortest:g} to {longest:g} Å; correct the cell or its unit"
        )


def operations(block: CIFBlock, lattice_a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, 3) rotations and (n, 3) translations: those that the file lists, else those of its space group.

    Raises:
        StructureError: one is none, there are too many, or only the group is given, and it is unknown or has several
            settings.
    """
    for tag in _OPERATIONS:
        if listed := column(block, tag):
            return _listed_operations([str(operation).strip("'\" ") for operation in listed])
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
        cosine = lattice_a[0] @ lattice_a[1] / np.linalg.norm(lattice_a[0]) / np.linalg.norm(lattice_a[1])
        return groups[0 if abs(cosine + 0.5) < 0.02 else 1].get_op()  # hexagonal axes show in their angle of 120°
    if len(groups) == 2 and origin in ("1", "2"):
        return groups[int(origin) - 1].get_op()
    if len(groups) != 1:
        raise StructureError(
            f"found the space group {name or number}, which is {'ambiguous' if groups else 'not known'}; "
            f"list its operations in {_OPERATIONS[0]}"
            + (f", or end its name with its origin, '{groups[0].symbol} :1' or ':2'" if len(groups) == 2 else "")
        )
    return groups[0].get_op()


def _listed_operations(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    if len(words) > MOST_OPERATIONS:
        raise StructureError(
            f"found {len(words)} symmetry operations, expected at most {MOST_OPERATIONS}; list each once"
        )
    for word in words:
        try:
            (rotation,), (translation,) = parse_sitesym([word])
            fits = round(abs(np.linalg.det(rotation))) == 1 and np.isfinite(translation).all()
        except Exception:  # the parser raises whatever it likes
            fits = False
        if not fits:
            raise StructureError(
                f"found the symmetry operation {word[:60]!r}, expected the form -x,y+1/2,z; correct it"
            )
    return parse_sitesym(words)


def column(block: CIFBlock, tag: str) -> list:
    """The values of a tag: one, many or none."""
    values = block.get(tag, [])
    return values if isinstance(values, list) else [values]


def numbers(values: list, what: str) -> np.ndarray:
    """The values as float64; raises StructureError where one is no finite number."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array([math.nan])
    if not np.isfinite(array).all():
        raise StructureError(f"found {what} that are no finite numbers; complete the file")
    return array


def _settings(group: str | int) -> list[Spacegroup]:
    """The settings in which a group of this name or number is known."""
    groups = []
    for setting in (1, 2):
        with contextlib.suppress(SpacegroupError):
            groups.append(Spacegroup(group, setting))
    return groups
