"""The rule graph of `snakemake all` as a drawing for docs/: what Snakemake says, without what repeats.

Methods whose rules hang together in the same way share one row of boxes, rule names lose the method's, and `all`,
which only collects, is left out. The text of the drawing depends on the graph alone; a test finds where it drifted.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html import escape

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.errors import InputError

FILE = "docs/images/rules.svg"
MAIN = ("synthesize", "pretrain", "finetune", "predict", "evaluate", "plot")
Node = tuple[int, str]  # number of the row of methods, or -1 for the study's rules; name of the rule
Edge = tuple[Node, Node]
_WIDTH, _HEIGHT, _STEP_X, _STEP_Y, _MARGIN, _TOP = 118, 30, 152, 52, 16, 78
_STUDY = -1
_STAGGER = 28


def read_graph() -> set[tuple[str, str]]:
    """Which rule follows from which, as `snakemake --rulegraph` prints it for the target `all`.

    Raises:
        InputError: Snakemake cannot draw it.
    """
    words = [sys.executable, "-m", "snakemake", "--rulegraph", "dot", "--forceall", "--", "all"]
    environment = os.environ | {"SLURM_CONF": os.environ.get("SLURM_CONF", os.devnull)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"snakemake --rulegraph ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', done.stdout, flags=re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, flags=re.MULTILINE)
    return {(names[start], names[end]) for start, end in edges}


def grouped(graph: set[tuple[str, str]], methods: Sequence[str]) -> tuple[list[list[str]], set[Edge]]:
    """The methods of every row, and the edges between its rules and those of the study."""

    def owner(rule: str) -> str:
        return next((method for method in methods if rule.startswith(f"{method}_")), "")

    def short(rule: str) -> str:
        return rule.removeprefix(f"{owner(rule)}_") if owner(rule) else rule

    edges = {(start, end) for start, end in graph if end != "all"}
    shapes: dict[frozenset, list[str]] = {}
    for method in methods:
        own = [(start, end) for start, end in edges if method in (owner(start), owner(end))]
        shape = frozenset((short(start), short(end), bool(owner(end))) for start, end in own)
        shapes.setdefault(shape, []).append(method)
    rows = list(shapes.values())
    row_of = {method: number for number, row in enumerate(rows) for method in row} | {"": _STUDY}
    together = {((row_of[owner(start)], short(start)), (row_of[owner(end)], short(end))) for start, end in edges}
    return rows, together


def drawn(graph: set[tuple[str, str]], methods: Sequence[str]) -> str:
    """The drawing as SVG."""
    rows, edges = grouped(graph, methods)
    place = _placed(edges, len(rows))
    width = max(x for x, _ in place.values()) + _WIDTH + _MARGIN
    height = max(y for _, y in place.values()) + _HEIGHT + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11">',
        "<title>The rules of the study and what follows from what</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#888888"/></marker></defs>',
        *(_arrow(place[start], place[end]) for start, end in sorted(edges)),
        *(line for node, at in sorted(place.items()) for line in _box(node, at)),
    ]
    for number, row in enumerate(rows):
        top = min(y for node, (_, y) in place.items() if node[0] == number)
        lines.append(f'<text x="{_MARGIN}" y="{top - 50}" fill="#333333">{escape(" · ".join(row))}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _placed(edges: set[Edge], n_rows: int) -> dict[Node, tuple[int, int]]:
    """The upper left corner of every box: columns by the longest way to it, rows of methods above the study's rules."""
    before: dict[Node, list[Node]] = {}
    for start, end in edges:
        before.setdefault(end, []).append(start)
        before.setdefault(start, [])

    def column(node: Node) -> int:
        return max((column(start) + 1 for start in before[node]), default=0)

    found: dict[Node, tuple[int, int]] = {}
    y = _MARGIN + 56
    for number in range(n_rows):
        below: dict[int, int] = {}
        for node in sorted(node for node in before if node[0] == number):
            x = MAIN.index(node[1]) if node[1] in MAIN else max(column(node), 3)
            if node[1] not in MAIN:
                below[x] = below.get(x, 0) + 1
            found[node] = (_MARGIN + x * _STEP_X, y + below.get(x, 0) * _STEP_Y * (node[1] not in MAIN))
        y += _STEP_Y * max(below.values(), default=0) + _TOP + 32
    y -= 24
    used: dict[int, int] = {}
    for node in sorted(node for node in before if node[0] == _STUDY):
        x = max(column(node), 1) - 1
        # Stacked boxes stand out to the left, so that the arrows to the lower ones pass the upper ones.
        found[node] = (_MARGIN + x * _STEP_X - _STAGGER * used.get(x, 0), y + used.get(x, 0) * (_HEIGHT + 10))
        used[x] = used.get(x, 0) + 1
    return found


def _box(node: Node, at: tuple[int, int]) -> Iterator[str]:
    x, y = at
    fill = "#EEF4FA" if node[0] != _STUDY else "#FDF3E4"
    yield f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" stroke="#5B6B7A"/>'
    yield f'<text x="{x + _WIDTH // 2}" y="{y + _HEIGHT // 2 + 4}" text-anchor="middle">{escape(node[1])}</text>'


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """A line between neighbours; an arc above the boxes that lie between."""
    (x0, y0), (x1, y1) = start, end
    if y0 == y1 and x1 - x0 > _STEP_X:
        lift = 12 + 8 * ((x1 - x0) // _STEP_X - 1)
        x0, x1 = x0 + _WIDTH - 14, x1 + 14
        path = f"M{x0} {y0} C{x0 + 24} {y0 - lift} {x1 - 24} {y1 - lift} {x1} {y1}"
    elif x1 > x0:
        x0, y0, y1 = x0 + _WIDTH, y0 + _HEIGHT // 2, y1 + _HEIGHT // 2
        path = f"M{x0} {y0} C{x0 + 20} {y0} {x1 - 24} {y1} {x1} {y1}"
    elif x1 < x0:
        x0, y0, x1 = x0 + 16, y0 + _HEIGHT, x1 + _STAGGER // 2
        path = f"M{x0} {y0} C{x0} {y0 + 24} {x1} {y0 + 24} {x1} {y1}"
    else:
        x0, y0, x1 = x0 + _WIDTH // 2, y0 + _HEIGHT, x1 + _WIDTH // 2
        path = f"M{x0} {y0} C{x0} {y0 + 20} {x1} {y1 - 20} {x1} {y1}"
    return f'<path d="{path}" fill="none" stroke="#888888" stroke-width="1.2" marker-end="url(#tip)"/>'
