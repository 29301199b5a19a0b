"""Which files of the project a module runs: its import closure, read from the source without importing it.

Snakemake tracks neither imported modules nor a script that a shell line names. So every rule takes the
closure of its script as inputs, and a changed module reruns exactly the jobs that import it.
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

    Imports inside functions count: they run too, later. The ``__init__.py`` of every package on the way
    belongs to the closure because Python runs it, and a table that bears a module's name (``kirkland.csv`` beside
    ``kirkland.py``) because the module reads it.

    Raises:
        ModuleNotFoundError: one of them or a project module that they import does not exist.
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
    tables = {Path(name).with_suffix(".csv").as_posix() for name in files}
    return tuple(sorted(files | {name for name in tables if (ROOT / name).is_file()}))


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@cache
def _path(module: str) -> Path | None:
    """The file of a module of the project, None where there is none."""
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
    """All statements below a node, however deep; expressions hold none, and walking them took most of the time."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, block, ()):
            yield child
            yield from _statements(child)
