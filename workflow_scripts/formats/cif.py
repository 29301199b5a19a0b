"""One crystal from a .cif: sites, cell and symmetry; an error is one sentence without the name of the file.

gemmi parses the file and knows the 564 settings of the space groups; the contents are checked here.
"""

import re

import gemmi
import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell
from gemmi.cif import Block

HEAVIEST = 103  # the last element whose scattering factors are known
CELL_SIDES_A = (1.0, 500.0)
_MOST_OPERATIONS = 192  # of a space group in its largest conventional cell
_OPERATIONS = ("_space_group_symop_operation_xyz", "_space_group_symop.operation_xyz", "_symmetry_equiv_pos_as_xyz")
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAME = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_MAGNETIC = re.compile(r"_space_group(_symop)?[._]magn", re.IGNORECASE)


class StructureError(ValueError):
    """The text describes no crystal that can be used."""


def structure_block(content: bytes) -> Block:
    """The only data block with atoms.

    Raises:
        StructureError: there is none, or more than one, or the content is not a complete .cif.
    """
    try:
        document = gemmi.cif.read_string(content.decode("utf-8", errors="replace"))
    except Exception as error:  # of several types
        reason = str(error).removeprefix("string:")[:120]
        raise StructureError(
            f"not a whole .cif file ({reason}); export the structure again, or copy the file again"
        ) from None
    blocks = [block for block in document if column(block, "_atom_site_fract_x")]
    if not blocks:
        raise StructureError("found no atoms, expected a loop of _atom_site_fract_x, y and z; export it again")
    if len(blocks) > 1:
        raise StructureError(f"found {len(blocks)} structures, expected one; keep one data block in the file")
    return blocks[0]


def sites(block: Block) -> tuple[list[str], np.ndarray]:
    """Elements and fractional coordinates (S, 3) of the asymmetric unit.

    Elements are read from atom types such as Ga3+ or, without these, from labels such as SrA or O12.

    Raises:
        StructureError: the numbers of elements and positions differ, or an element is unknown.
    """
    columns = [numbers(column(block, f"_atom_site_fract_{axis}"), "coordinates") for axis in "xyz"]
    symbols = []
    for text in column(block, "_atom_site_type_symbol") or column(block, "_atom_site_label"):
        match = re.match(r"[A-Z][a-z]?", text)
        symbol = {"D": "H", "T": "H"}.get(match[0], match[0]) if match else text
        if not 1 <= atomic_numbers.get(symbol, 0) <= HEAVIEST:
            raise StructureError(
                f"found the atom {text[:60]!r}, expected an element; name it in _atom_site_type_symbol"
            )
        symbols.append(symbol)
    if {len(coordinates) for coordinates in columns} != {len(symbols)}:
        raise StructureError(
            f"found {len(symbols)} elements for {min(map(len, columns))} positions; complete the list of atoms"
        )
    return symbols, np.stack(columns, axis=1)


def cell(block: Block) -> np.ndarray:
    """Lattice vectors as rows a, b, c in Å: a along x, b in the xy plane.

    Raises:
        StructureError: there is no cell, or its parameters are impossible.
    """
    tags = [f"_cell_length_{side}" for side in "abc"] + [f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")]
    values = [_first(block, (tag,)) for tag in tags]
    if "" in values:
        raise StructureError("found no cell, expected _cell_length_a to _cell_angle_gamma; complete the file")
    parameters = numbers(values, "cell parameters")
    sides, angles = parameters[:3], parameters[3:]
    check_sides(sides)
    cosines = np.cos(np.deg2rad(angles))
    # The squared volume of a cell with sides of 1.
    squared = 1 - (cosines**2).sum() + 2 * cosines.prod()
    if angles.min() <= 0 or angles.max() >= 180 or squared < 0.01:
        listed = ", ".join(f"{angle:g}" for angle in angles)
        raise StructureError(f"found the cell angles {listed}°, which no cell has; correct the cell")
    return np.asarray(cellpar_to_cell(parameters))


def check_sides(sides_a: np.ndarray) -> None:
    """Raise StructureError where the sides (3,) of a cell in Å are too short or too long for a crystal."""
    shortest, longest = CELL_SIDES_A
    if sides_a.min() < shortest or sides_a.max() > longest:
        raise StructureError(
            f"found a cell of {sides_a[0]:.3g} × {sides_a[1]:.3g} × {sides_a[2]:.3g} Å, "
            f"expected sides of {shortest:g} to {longest:g} Å; correct the cell or its unit"
        )


def operations(block: Block, lattice_a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (n, 3, 3) and translations (n, 3) listed in the file, otherwise those of its space group.

    Raises:
        StructureError: an operation is invalid or magnetic, there are too many, statements about the symmetry
            contradict each other, or only the group is given and it is unknown, has two origins or does not fit the
            cell.
    """
    if _MAGNETIC.search(block.as_string()):
        raise StructureError("found magnetic symmetry, which is not read; export the structure without moments")
    listed = [_operation(word) for tag in _OPERATIONS for word in column(block, tag)]
    if len(listed) > _MOST_OPERATIONS:
        raise StructureError(
            f"found {len(listed)} symmetry operations, expected at most {_MOST_OPERATIONS}; list each once"
        )
    stated = _stated_settings(block, listed, lattice_a)
    known = [settings for settings in stated.values() if settings]
    possible = set.intersection(*known) if known else set()
    if known and not possible:
        raise StructureError(f"found the {' and the '.join(stated)}, which contradict each other; correct one of them")
    if stated and not listed and len(possible) != 1:
        name = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(min(possible))).hm if possible else ""
        raise StructureError(
            f"found the {' and the '.join(stated)}, which is {'ambiguous' if possible else 'not known'}; list its"
            f" operations in {_OPERATIONS[0]}"
            + (f", or end its name with its origin, '{name} :1' or ':2'" if possible else "")
        )
    group = listed or list(gemmi.symops_from_hall(possible.pop() if possible else "P 1"))
    rotations, translations = (np.array([getattr(op, part) for op in group]) / gemmi.Op.DEN for part in ("rot", "tran"))
    metric, sides = lattice_a @ lattice_a.T, np.linalg.norm(lattice_a, axis=1)
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    if not listed and (abs(turned - metric) > 0.05 * np.outer(sides, sides)).any():  # another axis is the unique one
        raise StructureError(
            f"found the {' and the '.join(stated)}, which the cell does not have; correct it, or list its operations"
        )
    return rotations, translations


def _operation(word: str) -> gemmi.Op:
    try:
        operation = gemmi.Op(word)
        # The parser also takes a, b, c and h, k, l, which mean other matrices.
        fits = abs(operation.det_rot()) == gemmi.Op.DEN**3 and not set("abchkl") & set(word.lower())
    except Exception:  # the parser raises errors of several types
        fits = False
    if not fits:
        raise StructureError(f"found the symmetry operation {word[:60]!r}, expected the form -x,y+1/2,z; correct it")
    return operation


def _stated_settings(block: Block, listed: list[gemmi.Op], lattice_a: np.ndarray) -> dict[str, set[str]]:
    """Statements of the file about its symmetry, each with the Hall symbols of the settings compatible with it."""
    hall, name, number = (_first(block, tags) for tags in (_HALL, _NAME, _NUMBER))
    table = list(gemmi.spacegroup_table())
    stated = {}
    # Operations about an origin that is not in the table are accepted too.
    if listed and (group := gemmi.find_spacegroup_by_ops(gemmi.GroupOps(listed))):
        stated["list of operations"] = {group.hall}
    if hall:
        stated[f"Hall symbol {hall[:60]}"] = {group.hall for group in table if group.hall == hall}
    if name:
        stated[f"space group {name[:60]}"] = _named_settings(name, lattice_a)
    if number:
        same = [group for group in table if str(group.number) == number]
        # A number alone means the standard setting.
        settings = {group.hall for group in same} if stated or not same else _named_settings(same[0].hm, lattice_a)
        stated[f"space group {number[:60]}"] = settings
    return stated


def _named_settings(name: str, lattice_a: np.ndarray) -> set[str]:
    """The settings of this name: two if it does not state the origin; an angle of 120° tells hexagonal axes."""
    cosine = lattice_a[0] @ lattice_a[1] / np.linalg.norm(lattice_a[0]) / np.linalg.norm(lattice_a[1])
    axes = "H" if abs(cosine + 0.5) < 0.02 else "R"
    name = re.sub(r"\s*:\s*[HhRr]$", "", name)  # the cell decides
    groups = [gemmi.find_spacegroup_by_name(name, prefer=origin + axes) for origin in "12"]
    return {group.hall for group in groups if group}


def _first(block: Block, tags: tuple[str, ...]) -> str:
    """The first known value of these tags; an empty string if there is none."""
    values = (value for tag in tags for value in column(block, tag) if value not in ("?", "."))
    return next(values, "").strip()


def column(block: Block, tag: str) -> list[str]:
    """All values of a tag (any number) without quotes; ? and . are kept."""
    return [gemmi.cif.as_string(raw) or raw for raw in block.find_values(tag)]


def numbers(values: list[str | float], what: str) -> np.ndarray:
    """The values as float64, without uncertainties in parentheses; raises StructureError if one is not finite."""
    array = np.array([_number(value) if isinstance(value, str) else value for value in values], dtype=np.float64)
    if not np.isfinite(array).all():
        raise StructureError(f"found {what} that are no finite numbers; complete the file")
    return array


def _number(text: str) -> float:
    numerator, slash, denominator = text.partition("/")
    if not slash:
        return gemmi.cif.as_number(text)
    divisor = gemmi.cif.as_number(denominator)
    return gemmi.cif.as_number(numerator) / divisor if divisor else np.nan
