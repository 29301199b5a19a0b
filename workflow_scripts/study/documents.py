"""One table in three formats: Markdown, LaTeX and a page of HTML, from the same sections."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em; color: #222; max-width: 100em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.8em; } p { max-width: 60em; }
table { border-collapse: collapse; }
th, td { padding: .35em .7em; text-align: left; vertical-align: top; overflow-wrap: break-word; }
th { border-bottom: 2px solid #444; } td { border-bottom: 1px solid #ccc; max-width: 26em; }
td:first-child { min-width: 9em; } th, .texts-1 td:nth-child(n+2), .texts-2 td:nth-child(n+3),
.texts-4 td:nth-child(n+5) { white-space: nowrap; font-variant-numeric: tabular-nums; }
.yes { color: #00694c; font-weight: 600; } .no { color: #b03a00; font-weight: 600; }
.undecided { color: #7a5c00; } .not-measured { color: #666; }
.total tbody tr:last-child td { font-weight: 600; }
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
        table: cells as text; the heads of the columns name their units.
        texts: number of text columns, which come first; the columns of numbers are aligned to the right.
        total: whether the last row sums those above it.
    """

    title: str
    table: pd.DataFrame
    texts: int = 1
    total: bool = False


def markdown(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The sections as a Markdown page that ends in a line break."""
    lines = [f"# {title}", "", introduction]
    for section in sections:
        columns = list(section.table)
        lines += ["", f"## {section.title}", "", _markdown_row(columns)]
        lines.append("|---" * section.texts + "|--:" * (len(columns) - section.texts) + "|")
        lines += map(_markdown_row, section.table.itertuples(index=False, name=None))
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in cells) + " |"


def latex(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The sections as tables to \\input; they need the packages booktabs and longtable."""
    parts = [f"% {title}\n% needs \\usepackage{{booktabs,longtable}}\n% {introduction}\n"]
    for section in sections:
        table = section.table.map(escape_latex).rename(columns=escape_latex)
        parts.append(
            table.to_latex(
                index=False,
                longtable=True,
                caption=escape_latex(f"{title}: {section.title}."),
                column_format="l" * section.texts + "r" * (table.shape[1] - section.texts),
            )
        )
    return "\n".join(parts)


def escape_latex(text: str) -> str:
    """Text with its special characters escaped for LaTeX."""
    return text.translate(_LATEX)


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The sections as one self-contained page of HTML."""
    parts = [f"<p>{html.escape(introduction)}</p>"]
    for section in sections:
        total = " total" if section.total else ""
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts.append(html_table(section.table, f"texts-{section.texts}{total}"))
    return whole_page(title, "\n".join(parts))


def write_documents(outputs: Mapping[str, Path], title: str, introduction: str, sections: Iterable[Section]) -> None:
    """Write the sections to the outputs `md`, `tex` and `html`."""
    sections = list(sections)
    for name, form in (("md", markdown), ("tex", latex), ("html", page)):
        outputs[name].write_text(form(title, introduction, sections), encoding="utf-8")


def html_table(table: pd.DataFrame, classes: str = "", escape: bool = True) -> str:
    """A table of texts as HTML; escape: whether the cells are plain text, not HTML."""
    with pd.option_context("display.max_colwidth", None):
        return table.to_html(index=False, border=0, justify="left", classes=classes, escape=escape)


def whole_page(title: str, body: str) -> str:
    """A page of HTML around a body that is HTML already."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )
