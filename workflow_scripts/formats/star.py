"""Tables in STAR files (RELION's .star and Xmipp's .xmd), read strictly, and the image names in them.

The format is what RELION's documentation describes (https://relion.readthedocs.io, "Conventions"): `data_` blocks of
`loop_` tables or of single items, values separated by white space and quoted if they contain spaces, comments after
`#`. A row that is too short or too long is an error here: readers that pad it turn a truncated file into wrong numbers.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import whole

Table = dict[str, list[str]]

_LONGEST_LINE = 1_000_000
_TOKEN = re.compile(r"""\s*(?:"([^"]*)"(?=\s|$)|'([^']*)'(?=\s|$)|(#.*)|(\S+))""")


def read_tables(path: Path) -> dict[str, Table]:
    """All blocks of a STAR file by the name behind `data_`, each as columns of text; single items have one row.

    Labels lose their leading underscore.

    Raises:
        InputError: the file is absent, not text, or violates the format; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    try:
        with path.open("rb") as file:
            beginning = file.read(65536)
        if not beginning.strip():
            raise InputError(f"{path}: the file is empty; export it again")
        if b"\0" in beginning:
            raise InputError(f"{path}: is no text, expected a STAR file; give the .star or .xmd, not the stack")
        with path.open(encoding="utf-8-sig", newline=None) as file:
            tables = _Parser(path).parse(file)
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no UTF-8 text, expected a STAR file; export it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct its permissions") from None
    if not tables:
        raise InputError(f"{path}: found no block, expected a line that begins with data_; give a .star or .xmd file")
    return tables


def write_tables(path: Path, tables: Mapping[str, Mapping[str, Sequence[Any]]], xmipp: bool = False) -> None:
    """Write blocks of columns; the file appears when it is complete, and the same tables give the same bytes.

    Numbers that are not integers have six decimals, as in RELION. `xmipp` selects the layout of an .xmd.

    Raises:
        ValueError: the columns of a block differ in length, or a value cannot be written as one word.
    """
    with whole(Path(path)) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        if xmipp:
            file.write("# XMIPP_STAR_1 * \n# \n")
        for name, columns in tables.items():
            if len({len(column) for column in columns.values()}) != 1:
                raise ValueError(f"the columns of {name!r} differ in length")
            file.write(f"data_{name}\nloop_\n" if xmipp else f"\n# version 30001\n\ndata_{name}\n\nloop_ \n")
            for number, label in enumerate(columns, start=1):
                file.write(f" _{label}\n" if xmipp else f"_{label} #{number} \n")
            for row in zip(*columns.values(), strict=True):
                file.write(" ".join(_word(value) for value in row) + "\n")
            file.write("" if xmipp else "\n")


def numbers(
    table: Table, label: str, path: Path, within: tuple[float, float], rows: Iterable[int] | None = None
) -> list[float] | None:
    """A column as numbers; None where the table has no such column.

    Args:
        within: smallest and largest value accepted.
        rows: row numbers for error messages; None counts from 1.

    Raises:
        InputError: a value is not a number or out of range; the message names its row.
    """
    if label not in table:
        return None
    values = []
    for row, text in zip(count(1) if rows is None else rows, table[label], strict=False):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not within[0] <= value <= within[1]:
            raise InputError(
                f"{path}: row {row} has {text[:80]!r} as {label}, expected a number from {within[0]:g} to "
                f"{within[1]:g}; correct the row"
            )
        values.append(value)
    return values


def parse_image_name(text: str, path: Path, row: int) -> tuple[int | None, str]:
    """The number of an image in its stack, counted from 1 (None: no number is given), and the file's name.

    Raises:
        InputError: the text is no image name, such as 000001@stack.mrcs.
    """
    number, at, name = text.partition("@")
    if not at:
        number, name = "", text
    if not name or (at and not (number.isascii() and number.isdigit() and 0 < len(number) < 16 and int(number) > 0)):
        raise InputError(
            f"{path}: row {row} names the image {text[:200]!r}, expected the form 000001@stack.mrcs, counted from 1; "
            "correct the row"
        )
    return (int(number) if at else None), name


def resolve(name: str, listing: Path) -> Path | None:
    """The file named in the list `listing`, relative to the nearest folder above the list that contains it.

    RELION's names are relative to the project folder, in which the .star may lie some levels deep. None if absent.
    """
    try:
        for folder in Path(listing).absolute().parents:
            if (candidate := folder / name).is_file():
                return candidate
    except (OSError, ValueError):  # a name too long for the file system, or with a zero byte
        return None
    return None


class _Parser:
    """One pass over the lines of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: dict[str, Table] = {}
        self.table: Table | None = None
        self.columns: list[list[str]] = []
        # Position in a block: "block" (its beginning), "items" (single items), "labels" or "rows" (of a loop).
        self.state = "block"

    def parse(self, file: Any) -> dict[str, Table]:
        for line_number, line in _lines(file, self.path):
            words = _words(line)
            self._expect(words is not None, line_number, f"a quotation without an end: {line.strip()[:80]!r}")
            if not words:
                continue
            first = words[0]
            # A row may begin with an image called data_1.mrcs.
            if first.startswith("data_") and len(words) == 1:
                self._block(first[5:], line_number)
            elif self.table is None:
                # All text before the first block is a comment.
                continue
            elif first == "loop_" and len(words) == 1:
                self._expect(self.state == "block", line_number, "a second loop_ in one block")
                self.state = "labels"
            elif first.startswith("_") and self.state in ("block", "items", "labels"):
                self._label(words, line_number)
            elif self.state in ("labels", "rows"):
                self._row(words, line_number)
            else:
                self._expect(False, line_number, f"{line.strip()[:80]!r}")
        return self.tables

    def _block(self, name: str, line_number: int) -> None:
        self._expect(name not in self.tables, line_number, f"a second block data_{name[:80]}")
        self.tables[name] = self.table = {}
        self.columns, self.state = [], "block"

    def _label(self, words: list[str], line_number: int) -> None:
        label = words[0][1:]
        in_loop = self.state == "labels"
        self._expect(bool(label) and label not in self.table, line_number, f"the label {words[0][:80]} twice or empty")
        self._expect(
            len(words) == (1 if in_loop else 2),
            line_number,
            f"{len(words) - 1} values behind the label {words[0][:80]}, expected {'none' if in_loop else 'one'}",
        )
        self.table[label] = words[1:]
        self.columns.append(self.table[label])
        self.state = "labels" if in_loop else "items"

    def _row(self, words: list[str], line_number: int) -> None:
        self._expect(
            len(words) == len(self.columns),
            line_number,
            f"{len(words)} values where the table has {len(self.columns)} columns",
        )
        for column, word in zip(self.columns, words, strict=True):
            column.append(word)
        self.state = "rows"

    def _expect(self, holds: bool, line_number: int, fault: str) -> None:
        if not holds:
            raise InputError(
                f"{self.path}: line {line_number} has {fault}; the file is damaged or cut off, so export it again"
            )


def _lines(file: Any, path: Path) -> Iterator[tuple[int, str]]:
    line_number = 0
    while line := file.readline(_LONGEST_LINE):
        line_number += 1
        if len(line) == _LONGEST_LINE:
            raise InputError(f"{path}: line {line_number} is too long for a STAR file; export it again")
        yield line_number, line


def _words(line: str) -> list[str] | None:
    """The values in a line; None if a quotation is not closed, or is followed by text without a space."""
    if '"' not in line and "'" not in line and "#" not in line:
        return line.split()
    words = []
    for match in _TOKEN.finditer(line.rstrip()):
        double, single, comment, plain = match.groups()
        if comment is not None:
            break
        if plain is not None and plain[0] in "\"'":
            return None
        words.append(next(word for word in (double, single, plain) if word is not None))
    return words


def _word(value: Any) -> str:
    if isinstance(value, str):
        # A word that looks like syntax is quoted as well.
        plain = value and not re.search(r"\s", value) and value[0] not in "#_'\"" and not value.startswith("data_")
        if plain and value != "loop_":
            return value
        quote = "'" if '"' in value else '"'
        if "\n" in value or "\r" in value or quote in value:
            raise ValueError(f"{value!r} cannot be written as one word")
        return f"{quote}{value}{quote}"
    if float(value).is_integer() and not isinstance(value, float) and "float" not in type(value).__name__:
        return str(int(value))
    if not math.isfinite(value):
        raise ValueError("a number that is not finite cannot be written")
    return f"{float(value):.6f}"
