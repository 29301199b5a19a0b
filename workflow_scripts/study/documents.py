"""One table, three forms: Markdown, LaTeX and a page of HTML, from the same sections."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em; color: #222; max-width: 100em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.8em; } p { max-width: 60em; }
table { border-collapse: collapse; }
th, td { padding: .35em .7em; text-align: left; vertical-align: top; overflow-wrap: break-word; }
th { border-bottom: 2px solid #444; } td { border-bottom: 1px solid #ccc; max-width: 26em; }
td:first-child { min-width: 9em; } td.number, th { white-space: nowrap; font-variant-numeric: tabular-nums; }
.yes { color: #00694c; font-weight: 600; } .no { color: #b03a00; font-weight: 600; } .not-measured { color: #666; }
.words td { max-width: 56em; } .words th:empty { padding: 0; } .total td { font-weight: 600; }
"""
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "<": r"\ensuremath{<}",
        ">": r"\ensuremath{>}",
        "²": r"\ensuremath{^2}",
        "°": r"\ensuremath{^\circ}",
        "Å": r"\AA{}",
        "µ": r"\ensuremath{\mu}",
        "≤": r"\ensuremath{\le}",
        "≥": r"\ensuremath{\ge}",
        "×": r"\ensuremath{\times}",
        "±": r"\ensuremath{\pm}",
        "√": r"\ensuremath{\surd}",
        "–": "--",
        "·": r"\ensuremath{\cdot}",
    }
)


@dataclass(frozen=True)
class Section:
    """A table under its heading.

    Attributes:
        title: the heading.
        columns: heads of the columns, with their units.
        rows: cells as text, one for every column.
        note: sentences between heading and table.
        texts: number of columns of words, which come first; the columns of numbers are aligned to the right.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    texts: int = 1


def markdown(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The sections as a Markdown page that ends in a line break."""
    lines = [f"# {title}", "", introduction]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        if section.note:
            lines += [section.note, ""]
        lines.append("| " + " | ".join(map(_cell, section.columns)) + " |")
        lines.append("|---" * section.texts + "|--:" * (len(section.columns) - section.texts) + "|")
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in section.rows]
    return "\n".join(lines) + "\n"


def latex(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The sections as tables to \\input; they need the packages booktabs and longtable."""
    lines = [f"% {title}", "% needs \\usepackage{booktabs,longtable}", f"% {introduction}"]
    for section in sections:
        form = "l" * section.texts + "r" * (len(section.columns) - section.texts)
        note = f" {section.note}" if section.note else ""
        head = " & ".join(map(escape_latex, section.columns)) + r" \\ \midrule"
        lines += [
            "",
            f"\\begin{{longtable}}{{@{{}}{form}@{{}}}}",
            f"\\caption{{{escape_latex(f'{title}: {section.title}.{note}')}}}\\\\",
            f"\\toprule {head} \\endfirsthead",
            f"\\toprule {head} \\endhead",
            r"\bottomrule \endfoot",
            *(" & ".join(map(escape_latex, row)) + r" \\" for row in section.rows),
            r"\end{longtable}",
        ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text with its special characters escaped for LaTeX."""
    return text.translate(_LATEX)


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The sections as one page of HTML that needs nothing else."""
    parts = []
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.note:
            parts.append(f"<p>{html.escape(section.note)}</p>")
        parts.append(html_table(section))
    return whole_page(title, f"<p>{html.escape(introduction)}</p>\n" + "\n".join(parts))


def write_documents(outputs: Mapping[str, Path], title: str, introduction: str, sections: Iterable[Section]) -> None:
    """Write the sections to the outputs `md`, `tex` and `html`."""
    sections = list(sections)
    for name, form in (("md", markdown), ("tex", latex), ("html", page)):
        outputs[name].write_text(form(title, introduction, sections), encoding="utf-8")


def html_table(section: Section) -> str:
    """One table; a row whose first cell begins with "all" is a total."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in section.columns)
    rows = []
    for row in section.rows:
        kinds = [""] * section.texts + [' class="number"'] * (len(row) - section.texts)
        cells = (f"<td{kind}>{html.escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        kind = ' class="total"' if row[0].startswith("all ") else ""
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    words = ' class="words"' if section.texts == len(section.columns) else ""
    return f"<table{words}><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def whole_page(title: str, body: str) -> str:
    """A page of HTML around a body that is HTML already."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
