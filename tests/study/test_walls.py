"""The study draws and tabulates where torch is not installed."""

import subprocess
import sys
from pathlib import Path

import workflow_scripts.study

FOLDER = Path(workflow_scripts.study.__file__).parent


def test_the_study_never_imports_torch():
    modules = [f"workflow_scripts.study.{path.stem}" for path in FOLDER.glob("*.py") if path.stem != "__init__"]
    code = f"import sys, {', '.join(sorted(modules))}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parents[1], check=False).returncode == 0
