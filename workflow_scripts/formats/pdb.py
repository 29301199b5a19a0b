"""Atoms of a .pdb or .cif file of the Protein Data Bank; a mistake in one is reported in one sentence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.formats.endings import CIF, PDB, has_ending
from workflow_scripts.formats.files import read_content
from workflow_scripts.workflow.errors import InputError

_LARGEST_FILE_BYTES = 512 * 2**20
_LONGEST_LINE = 10_000
_FARTHEST_A = 10_000.0
_WATER = {"HOH", "DOD", "WAT"}
_TOKEN = re.compile(r"'(?:.*?)'(?=\s|$)|\"(?:.*?)\"(?=\s|$)|\S+")
_COLUMNS = ("type_symbol", "Cartn_z", "Cartn_y", "Cartn_x")
_ONE_ATOM = ("label_asym_id", "auth_seq_id", "pdbx_PDB_ins_code", "label_seq_id", "label_comp_id", "label_atom_id")


@dataclass(frozen=True)
class Atoms:
    """symbols: (M,) elements; positions_a: float64 (M, 3) [z, y, x] in Å."""

    symbols: np.ndarray
    positions_a: np.ndarray


@dataclass(frozen=True)
class _Record:
    """One atom as text; coordinates: z, y, x; name: the same for all alternative positions of an atom."""

    line_number: int
    residue: str | None
    is_alternative: bool
    name: str | tuple
    coordinates: list[str]
    element: str


def read_atoms(path: Path) -> Atoms:
    """The atoms of the first model, without water; of alternative positions the first.

    Args:
        path: .pdb, .ent, .cif or .mmcif, or one of them with .gz. Biological assemblies are not built.

    Raises:
        InputError: absent, damaged or no such file, or without atoms.
    """
    path = Path(path)
    if not has_ending(path, PDB + CIF):
        raise InputError(f"{path}: found the ending {path.suffix!r}, expected .pdb or .cif, or either with .gz")
    lines = _lines(path)
    symbols, positions, read_already = [], [], set()
    for record in _of_pdb(lines) if has_ending(path, PDB) else _of_mmcif(lines, path):
        if record.residue in _WATER or (record.is_alternative and record.name in read_already):
            continue
        if record.is_alternative:
            read_already.add(record.name)
        try:
            positions.append([float(text) for text in record.coordinates])
        except ValueError:
            raise InputError(
                f"{path}: found no coordinates in line {record.line_number}; download the file again"
            ) from None
        symbols.append(_symbol(record.element, path, record.line_number))
    if not symbols:
        raise InputError(f"{path}: found no atoms other than water, expected a molecule; download the file again")
    positions_a = np.array(positions, dtype=np.float64)
    if not (np.abs(positions_a) < _FARTHEST_A).all():
        raise InputError(f"{path}: found a coordinate that is no number below {_FARTHEST_A:g} Å; correct the atom")
    return Atoms(np.array(symbols), positions_a)


def _lines(path: Path) -> list[str]:
    content = read_content(path, _LARGEST_FILE_BYTES, "one molecule")
    lines = content.decode("ascii", errors="replace").splitlines()
    if longest := next((number for number, line in enumerate(lines, start=1) if len(line) > _LONGEST_LINE), None):
        raise InputError(f"{path}: line {longest} is too long for a file of atoms; download the file again")
    return lines


def _of_pdb(lines: list[str]) -> Iterator[_Record]:
    """ATOM and HETATM records, format 3.3 of the Protein Data Bank."""
    for number, line in enumerate(lines, start=1):
        if line.startswith("ENDMDL"):
            return
        if line.startswith(("ATOM  ", "HETATM")):
            coordinates = [line[start : start + 8] for start in (46, 38, 30)]
            # Old files have no element; the name of an atom keeps its first column for elements of two letters.
            element = line[76:78].strip() or line[12:14].strip(" 0123456789")
            name = line[12:16] + line[17:27]  # without column 17, the alternative position
            yield _Record(number, line[17:20].strip(), bool(line[16:17].strip()), name, coordinates, element)


def _of_mmcif(lines: list[str], path: Path) -> Iterator[_Record]:
    """The loop _atom_site of a PDBx/mmCIF file."""
    start = next((index for index, line in enumerate(lines) if line.startswith("_atom_site.")), len(lines))
    columns: list[str] = []
    while start < len(lines) and lines[start].startswith("_atom_site."):
        columns.append(lines[start].split()[0].removeprefix("_atom_site."))
        start += 1
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise InputError(
            f"{path}: found no _atom_site.{missing[0]}, expected the atoms of a PDBx/mmCIF file; download it again"
        )
    first_model = None
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line.strip() or line.startswith(("#", "loop_", "_", "data_")):
            return
        row = _TOKEN.findall(line) if "'" in line or '"' in line else line.split()
        if len(row) != len(columns):
            raise InputError(
                f"{path}: found {len(row)} values in line {number}, expected {len(columns)} for an atom; "
                "download the file again"
            )
        value = {name: text.strip("'\"") for name, text in zip(columns, row, strict=True)}
        model = value.get("pdbx_PDB_model_num", "1")
        first_model = first_model or model
        if model == first_model:
            coordinates = [value[column] for column in _COLUMNS[1:]]
            is_alternative = value.get("label_alt_id", ".") not in (".", "?")
            name = tuple(value.get(column) for column in _ONE_ATOM)
            yield _Record(number, value.get("label_comp_id"), is_alternative, name, coordinates, value["type_symbol"])


def _symbol(text: str, path: Path, number: int) -> str:
    symbol = {"D": "H"}.get(text.upper(), text.capitalize())
    if not re.fullmatch(r"[A-Z][a-z]?", symbol):
        raise InputError(f"{path}: found the element {text!r} in line {number}, expected a symbol such as C or Zn")
    return symbol
