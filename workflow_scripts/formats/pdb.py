"""Atoms of a .pdb or .cif file of the Protein Data Bank; an error in the file is reported in one sentence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from workflow_scripts.formats.endings import CIF, PDB, has_ending
from workflow_scripts.formats.files import read_content
from workflow_scripts.workflow.arrays import reason
from workflow_scripts.workflow.errors import InputError

_LARGEST_FILE_BYTES = 512 * 2**20
_FARTHEST_A = 10_000.0
_WATER = {"HOH", "DOD", "WAT"}
_COLUMNS = ("type_symbol", "Cartn_z", "Cartn_y", "Cartn_x")
_NAME = ("label_comp_id", "label_asym_id", "auth_seq_id", "pdbx_PDB_ins_code", "label_seq_id", "label_atom_id")
_OPTIONAL = ("pdbx_PDB_model_num", "label_alt_id", *_NAME)


@dataclass(frozen=True)
class Atoms:
    """symbols: (M,) elements; positions_a: float64 (M, 3) [z, y, x] in Å."""

    symbols: np.ndarray
    positions_a: np.ndarray


@dataclass(frozen=True)
class _Record:
    """One atom as text.

    place: line or number in the file, for error messages.
    name: the same for all alternative positions of an atom.
    coordinates: z, y, x.
    """

    place: str
    residue: str
    is_alternative: bool
    name: str | tuple[str, ...]
    coordinates: list[str]
    element: str


def read_atoms(path: Path) -> Atoms:
    """The atoms of the first model without water, at the first of alternative positions.

    Args:
        path: .pdb, .ent, .cif or .mmcif, or one of them with .gz. Biological assemblies are not built.

    Raises:
        InputError: the file is absent, damaged, of another format, or has no atoms.
    """
    path = Path(path)
    if not has_ending(path, PDB + CIF):
        raise InputError(f"{path}: found the ending {path.suffix!r}, expected .pdb or .cif, or either with .gz")
    text = read_content(path, _LARGEST_FILE_BYTES, "one molecule").decode("utf-8", errors="replace")
    symbols, positions, read_already = [], [], set()
    for record in _of_pdb(text) if has_ending(path, PDB) else _of_mmcif(text, path):
        if record.residue in _WATER or (record.is_alternative and record.name in read_already):
            continue
        if record.is_alternative:
            read_already.add(record.name)
        try:
            positions.append([float(text) for text in record.coordinates])
        except ValueError:
            raise InputError(f"{path}: found no coordinates in {record.place}; download the file again") from None
        symbols.append(_symbol(record.element, path, record.place))
    if not symbols:
        raise InputError(f"{path}: found no atoms other than water, expected a molecule; download the file again")
    positions_a = np.array(positions, dtype=np.float64)
    if not (np.abs(positions_a) < _FARTHEST_A).all():
        raise InputError(f"{path}: found a coordinate that is no number below {_FARTHEST_A:g} Å; correct the atom")
    return Atoms(np.array(symbols), positions_a)


def _of_pdb(text: str) -> Iterator[_Record]:
    """ATOM and HETATM records, format 3.3 of the Protein Data Bank."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("ENDMDL"):
            return
        if line.startswith(("ATOM  ", "HETATM")):
            coordinates = [line[start : start + 8] for start in (46, 38, 30)]
            # Old files have no element column; the first column of an atom's name is for two-letter elements.
            element = line[76:78].strip() or line[12:14].strip(" 0123456789")
            name = line[12:16] + line[17:27]  # without column 17, the alternative position
            yield _Record(f"line {number}", line[17:20].strip(), bool(line[16:17].strip()), name, coordinates, element)


def _of_mmcif(text: str, path: Path) -> Iterator[_Record]:
    """The first model in the table _atom_site of a PDBx/mmCIF file."""
    try:
        blocks = [block for block in gemmi.cif.read_string(text) if block.find_values(f"_atom_site.{_COLUMNS[0]}")]
    except Exception as error:  # of several types
        raise InputError(f"{path}: not a whole .cif file ({reason(error)}); download the file again") from None
    table = blocks[0].find("_atom_site.", [*_COLUMNS, *(f"?{name}" for name in _OPTIONAL)]) if blocks else []
    if not table:
        raise InputError(
            f"{path}: found no _atom_site.{' or '.join(_COLUMNS)}, expected the atoms of a PDBx/mmCIF file;"
            " download it again"
        )
    first_model = None
    for number, row in enumerate(table, start=1):
        values = [row.str(k) if row.has(k) else "" for k in range(len(_COLUMNS) + len(_OPTIONAL))]
        element, z, y, x, model, alternative, residue, *name = values
        if first_model is None:
            first_model = model
        if model == first_model:
            yield _Record(f"atom {number}", residue, bool(alternative), (residue, *name), [z, y, x], element)


def _symbol(text: str, path: Path, place: str) -> str:
    symbol = {"D": "H"}.get(text.upper(), text.capitalize())
    if not re.fullmatch(r"[A-Z][a-z]?", symbol):
        raise InputError(f"{path}: found the element {text[:20]!r} in {place}, expected a symbol such as C or Zn")
    return symbol
