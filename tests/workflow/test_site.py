"""The site that `make docs` builds: no warning, no request that leaves the machine, every page reachable."""

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from workflow_scripts.workflow.closure import ROOT

LOADING = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
NOT_LOADED = {"next", "prev", "index", "search", "canonical", "author", "license", "help"}


class Page(html.parser.HTMLParser):
    """What a browser loads by itself for a page, what the page links to, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded, self.links, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        self.anchors.add(attributes.get("id", ""))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "link" and set(attributes.get("rel", "").split()) <= NOT_LOADED:
            return
        for name in LOADING.get(tag, ()):
            if attributes.get(name):
                self.loaded.append(attributes[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site and its pages by path."""
    pytest.importorskip("furo", reason="the site needs envs/docs.txt: make .venv/docs-installed")
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-d", f"{folder}/.cache", "docs", folder]
    # Nothing may be fetched for the build either.
    closed = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | closed, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, {path: Page(path) for path in sorted(folder.rglob("*.html"))}


def test_no_page_loads_anything_from_another_machine(site):
    folder, pages = site
    loaded = {(path.name, target) for path, page in pages.items() for target in page.loaded}
    assert len(loaded) > 50
    for name, target in loaded:
        assert not re.match(r"([a-z]+:)?//", target), f"{name} loads {target}"
    for path in folder.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", path.read_text(encoding="utf-8"))
        assert not found, f"{path.name} loads {found}"
    for path in folder.rglob("*.js"):
        found = re.findall(r"(?:fetch|import|open)\(\s*['\"`](?:https?:)?//", path.read_text(encoding="utf-8"))
        assert not found, f"{path.name} loads {found}"


def test_what_is_loaded_and_linked_is_there(site):
    _, pages = site
    for path, page in pages.items():
        for target in [*page.loaded, *page.links]:
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = unquote(target).partition("#")
            file = (path.parent / name.split("?")[0]).resolve() if name else path
            assert file.is_file(), f"{path.name} names {target}"
            if anchor and file in pages:
                assert anchor in pages[file].anchors, f"{path.name} names {target}"


def test_every_page_of_docs_is_reached_from_the_front_page(site):
    folder, pages = site
    front = pages[folder / "index.html"].links
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert name == "index.html" or name in front, name
