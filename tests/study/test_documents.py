"""One table in three formats; nothing in a cell breaks any of them."""

import html.parser

import pandas as pd

from workflow_scripts.study.documents import Section, escape_latex, latex, markdown, page

TRICKY = r"a|b_c & 50 % of 2^3 {x} \y <z> #1 $ Å"
ROWS = [[TRICKY, "1"], ["all methods", "2"]]
SECTION = Section("Numbers", pd.DataFrame(ROWS, columns=["name", "value (Å²)"]), total=True)


def test_markdown_keeps_its_columns():
    lines = [line for line in markdown("T", "I", [SECTION]).splitlines() if line.startswith("|")]
    assert lines[1] == "|---|--:|"
    assert [line.replace(r"\|", "").count("|") for line in lines] == [3, 3, 3, 3]


def test_latex_escapes_what_it_would_read():
    assert escape_latex("50 % of a_b & c^d") == r"50 \% of a\_b \& c\textasciicircum{}d"
    assert escape_latex("\\") == r"\textbackslash{}"
    text = latex("T", "I", [SECTION])
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    rows = [line for line in lines if "caption" not in line and "multicolumn" not in line]
    # An ampersand that separates cells has a space before it and no backslash.
    assert [row.count(" & ") for row in rows] == [1] * 4  # the head of the first page, that of the others, the rows
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1


def test_the_page_is_well_formed_and_asks_for_nothing():
    class Reader(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.cells = [], []

        def handle_starttag(self, tag, attributes):
            if tag != "meta":
                self.open.append(tag)
            assert not {"src", "href"} & {name for name, _ in attributes}

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            if self.open and self.open[-1] == "td":
                self.cells.append(data)

    reader = Reader()
    reader.feed(page("T < U", "I", [SECTION]))
    assert reader.open == []
    assert reader.cells == [TRICKY, "1", "all methods", "2"]
