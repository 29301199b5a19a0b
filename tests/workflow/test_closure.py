"""The import closure: what it finds, agrees with what Python really loads."""

import ast
import json
import subprocess
import sys

import pytest

from workflow_scripts.workflow.closure import ROOT, _imports, closure

STAGES = sorted(
    f"workflow_scripts.{path.parent.name}.{path.stem}"
    for path in (ROOT / "workflow_scripts").glob("*/*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
# Each script is imported by a separate child process, which has no project module yet; the parent has loaded in advance
# what takes seconds and is not part of the project.
LOADED = """
import importlib, json, os, sys
import ase.spacegroup, h5py, matplotlib.pyplot, mrcfile, pandas, pydantic, scipy.signal, skimage.io, tifffile, torch

for name in sys.argv[1:]:
    assert not any(module.split(".")[0] == "workflow_scripts" for module in sys.modules)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"importing {name} failed")
        continue
    importlib.import_module(name)
    ours = [m for key, m in sys.modules.items() if key.split(".")[0] == "workflow_scripts"]
    print(json.dumps([name, [m.__file__ for m in ours if m.__file__]]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def loaded():
    """Module of a stage script → the project files that importing it loads, relative to the root."""
    done = subprocess.run([sys.executable, "-c", LOADED, *STAGES], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pairs = [json.loads(row) for row in done.stdout.splitlines()]
    return {name: {file.removeprefix(f"{ROOT}/") for file in files} for name, files in pairs}


@pytest.mark.parametrize("module", STAGES)
def test_the_closure_holds_every_project_file_that_python_loads(module, loaded):
    script = f"{module.replace('.', '/')}.py"
    assert {script, "workflow_scripts/__init__.py"} <= loaded[module]
    assert loaded[module] <= set(closure(module))


def test_an_import_counts_wherever_it_stands(tmp_path):
    places = """
import workflow_scripts.a
class C:
    def f(self):
        if self:
            import workflow_scripts.b
        elif C:
            from workflow_scripts import c
        else:
            import workflow_scripts.d as d
        for i in d:
            while i:
                import workflow_scripts.e
            else:
                import workflow_scripts.f
        try:
            with d:
                import workflow_scripts.g
        except ValueError:
            import workflow_scripts.h
        else:
            import workflow_scripts.i
        finally:
            import workflow_scripts.j
        match d:
            case 1:
                async def k():
                    import workflow_scripts.k
"""
    file = tmp_path / "places.py"
    file.write_text(places)
    assert set(_imports(file)) == {"workflow_scripts", *(f"workflow_scripts.{name}" for name in "abdefghijk")}


def test_no_import_of_the_project_is_overlooked():
    for path in (ROOT / "workflow_scripts").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert {name for name in named if name.split(".")[0] == "workflow_scripts"} <= set(_imports(path)), path


def test_imports_inside_functions_and_parents_count():
    found = closure("workflow_scripts.workflow.settings")
    assert found == (
        "workflow_scripts/__init__.py",
        "workflow_scripts/workflow/__init__.py",
        "workflow_scripts/workflow/errors.py",
        "workflow_scripts/workflow/settings.py",
    )


def test_a_table_beside_a_module_belongs_to_it():
    files = closure("workflow_scripts.optics.potential")
    assert {"workflow_scripts/optics/kirkland.py", "workflow_scripts/optics/kirkland.csv"} <= set(files)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match="no module workflow_scripts"):
        closure("workflow_scripts.no_such")
