"""Stage layouts: TileConfiguration.txt as Fiji's stitching writes it (doi:10.1093/bioinformatics/btp184).

`dim = 2`, then one line `name; ; (x, y)` per tile, in pixels.
"""

import math
import re
from pathlib import Path

from workflow_scripts.workflow.errors import InputError

_SETTING = re.compile(r"(\w+)\s*=\s*(\S+)")
_TILE = re.compile(r"([^;]+);([^;]*);\s*\(([^()]*)\)")
_LARGEST_PX = 1e7
_LARGEST_BYTES = 10_000_000


def read_layout(path: Path) -> dict[str, tuple[float, float]]:
    """Positions [y, x] of the tiles' corners in pixels, by file name without its folder.

    Comments, empty lines, `multiseries` and Fiji's series number between the semicolons are skipped.

    Raises:
        InputError: the file is absent, not text, or not a two-dimensional layout; a line is malformed, repeats a tile,
            or has a position that is not finite.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"layout: {path} is larger than a layout can be; give the TileConfiguration.txt")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"layout: {path} is no UTF-8 text; give the TileConfiguration.txt") from None
    except OSError as error:
        raise InputError(f"layout: {path} cannot be read ({error.strerror}); correct path or permissions") from None
    places: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"layout: line {number} of {path}"
        if setting := _SETTING.fullmatch(text):
            if setting[1] == "dim" and setting[2] != "2":
                raise InputError(
                    f"{where} says dim = {setting[2]}, expected dim = 2; export the layout in two dimensions"
                )
            continue
        if not (tile := _TILE.fullmatch(text)):
            raise InputError(f"{where} is {text[:80]!r}, expected the form `name; ; (x, y)`; correct the line")
        name = re.split(r"[\\/]", tile[1].strip())[-1]
        if name in places:
            raise InputError(f"{where} names {name} a second time; keep one of the two lines")
        x, y = _position(tile[3], f"{where} ({name})")
        places[name] = (y, x)
    if not places:
        raise InputError(f"layout: {path} names no tile, expected lines of the form `name; ; (x, y)`")
    return places


def _position(text: str, where: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= _LARGEST_PX and abs(y) <= _LARGEST_PX):
        raise InputError(
            f"{where} has the position ({text[:60]}), expected two finite numbers (x, y) in pixels; correct it"
        )
    return x, y
