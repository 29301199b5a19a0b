"""A tutorial as its reader follows it: files are written as given on the page, commands run one after the other.

A block that begins with a comment naming a file is that file, or is added to its end where the comment says so
(``# config.yaml, at its end``). A block marked ``sh`` is typed. Blocks without a language are not run.
"""

import re
import subprocess
from pathlib import Path

from tests.workflow.running import ENVIRONMENT
from workflow_scripts.workflow.closure import ROOT

FOLDER = ROOT / "docs" / "tutorials"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.\w+)(, at its end)?\n")


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every block of a tutorial that has a language, in order."""
    return _BLOCK.findall((FOLDER / f"{page}.md").read_text(encoding="utf-8"))


def follow(page: str, folder: Path) -> list[str]:
    """Follow the page in a copy of the project; the output of every block of commands."""
    outputs = []
    for language, text in blocks(page):
        if language == "sh":
            # One machine is shared by several tests.
            typed = text.replace("--cores all", "--cores 2")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", typed],
                cwd=folder,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            outputs.append(done.stdout + done.stderr)
        else:
            named = _FILE.match(text)
            assert named, f"{page}: a block of {language} does not begin with the name of its file"
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8") + "\n" if named[2] else ""
            path.write_text(before + text[named.end() :], encoding="utf-8")
    return outputs
