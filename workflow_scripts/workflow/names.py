"""The order in which a person reads the names of files."""

import re


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key to sort names by: numbers inside them count as numbers, 2 before 10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(0, int(part), "") if number % 2 else (1, 0, part) for number, part in enumerate(parts)], name
