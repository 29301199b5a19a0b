"""The site that `make docs` builds from this folder; it opens from a disk and asks no other machine for anything."""

project = "Beamtime"
html_title = "Beamtime"
html_theme = "furo"
extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["report"]  # captions of Snakemake's report
html_copy_source = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
# The forge shows pages without a table of contents, so it is not in index.md.
CONTENTS = {
    "Begin": ["own-data"],
    "Tutorials": ["tutorials/particles", "tutorials/scan", "tutorials/mosaic", "tutorials/sixth-method"],
    "Methods": ["diffractive_imaging", "potential", "alignment", "background", "matching"],
    "Results": ["claims", "performance", "reliability"],
    "Reference": ["configuration", "scales", "architecture", "decisions", "glossary", "gpu", "clusters"],
}


def _with_contents(app, name: str, source: list[str]) -> None:
    if name != "index":
        return
    named = {page for pages in CONTENTS.values() for page in pages}
    contents = CONTENTS | {"More": sorted(app.env.found_docs - named - {"index"})}
    for caption, pages in contents.items():
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```", ""])


def setup(app) -> dict[str, bool]:
    """Give the front page its contents."""
    app.connect("source-read", _with_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
