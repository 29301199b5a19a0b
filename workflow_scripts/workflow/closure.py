"""The files of the project that a module runs: its import closure, read from the source without importing it.

Snakemake tracks neither imported modules nor a script named in a shell command. So every rule has a digest of the
closure of its script as a parameter (digests.py), and a changed module reruns exactly the jobs that import it.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parents[2]


@cache
def closure(*modules: str) -> tuple[str, ...]:
    """Paths, relative to the project's root and sorted, of all project files that importing these modules runs.

    Imports inside functions count too. The closure includes the ``__init__.py`` of all packages on the path, which
    Python runs, and tables that a module reads: .csv and .yaml of its name (``kirkland.csv`` beside ``kirkland.py``).

    Raises:
        ModuleNotFoundError: a module, or a project module that it imports, does not exist.
    """
    paths: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        for module in _with_parents(name) if name not in paths else ():
            if module not in paths:
                path = _path(module)
                if path is None:
                    raise ModuleNotFoundError(f"no module {module} in {ROOT}")
                paths[module] = path.relative_to(ROOT).as_posix()
                waiting += _imports(path)
    files = set(paths.values())
    tables = {Path(name).with_suffix(ending).as_posix() for name in files for ending in (".csv", ".yaml")}
    return tuple(sorted(files | {name for name in tables if (ROOT / name).is_file()}))


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@cache
def _path(module: str) -> Path | None:
    """The file of a module of the project, or None."""
    stem = ROOT.joinpath(*module.split("."))
    if not all(part.isidentifier() for part in module.split(".")):  # the name leads out of the project
        return None
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """The project modules that a file imports; ``from package import name`` may name a module or a value."""
    modules: list[str] = []
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"), path.name)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules.append(node.module)
            modules += [name for alias in node.names if _path(name := f"{node.module}.{alias.name}")]
    return tuple(module for module in modules if module.split(".")[0] == PACKAGE)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node at any depth; expressions are skipped, since they contain none."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, block, ()):
            yield child
            yield from _statements(child)
