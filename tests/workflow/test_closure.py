"""The import closure: what it finds, agrees with what Python really loads."""

import subprocess
import sys

import pytest

from workflow_scripts.workflow.closure import ROOT, closure

STAGES = sorted(
    f"workflow_scripts.{path.parent.name}.{path.stem}"
    for path in (ROOT / "workflow_scripts").glob("*/*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", STAGES)
def test_the_closure_holds_every_project_file_that_python_loads(module):
    program = (
        f"import sys, {module}; from pathlib import Path;"
        "print(*{Path(m.__file__).resolve() for m in list(sys.modules.values())"
        " if getattr(m, '__name__', '').startswith('workflow_scripts') and m.__file__})"
    )
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {name.removeprefix(f"{ROOT}/") for name in loaded.stdout.split()}
    assert files <= set(closure(module))
    assert f"{module.replace('.', '/')}.py" in closure(module)


def test_imports_inside_functions_and_parents_count():
    found = closure("workflow_scripts.workflow.settings")
    assert found == (
        "workflow_scripts/__init__.py",
        "workflow_scripts/workflow/__init__.py",
        "workflow_scripts/workflow/errors.py",
        "workflow_scripts/workflow/settings.py",
    )


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match="no module workflow_scripts"):
        closure("workflow_scripts.no_such")
