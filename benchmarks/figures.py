"""Time how long the figures of a run take to be drawn again from its tables, where torch cannot be imported.

    python -m benchmarks.figures results/laptop

The run's own figures are left alone; each new one must have the same bytes. More than a minute of
processor time in all is a failure; on a quiet machine that is the wall time too.
"""

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.files import read_json, sha256
from workflow_scripts.workflow.settings import nest

MOST_S = 60.0


def redraw(record: dict, method: str, folder: Path) -> list[str]:
    """Call the plot stage behind a provenance record again, with outputs in `folder`; names of files that differ."""
    module = importlib.import_module(record["module"])
    # Inputs are called as their files are; a second figure's outputs carry its name before their kind.
    inputs = {Path(name).stem: [Path(name)] for name in record["inputs"]}
    outputs = {
        f"{Path(name).stem.removeprefix(method)}_{Path(name).suffix[1:]}".lstrip("_"): folder / Path(name).name
        for name in record["outputs"]
    }
    module.plot(Job(module.Arguments.model_validate(nest(record["settings"])), inputs, outputs, folder))
    return [name for name, digest in record["outputs"].items() if sha256(folder / Path(name).name) != digest]


def _line(name: str, wall: float, processor: float) -> str:
    return f"{name:24}{time.perf_counter() - wall:6.1f} s{time.process_time() - processor:6.1f} s"


def main() -> None:
    """Draw and print the seconds of every method."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<scale> of a run of this code")
    folder = parser.parse_args().folder
    sys.modules["torch"] = None  # importing it raises ImportError
    wall, processor, wrong = time.perf_counter(), time.process_time(), []
    print(f"{'':24}    wall     CPU")
    for path in sorted((folder / "figures").glob("*.provenance.json")):
        record, start = read_json(path), (time.perf_counter(), time.process_time())
        if not record["module"].endswith(".plot"):
            continue
        method = path.name.removesuffix(".provenance.json")
        with tempfile.TemporaryDirectory() as scratch:
            wrong += redraw(record, method, Path(scratch))
        print(_line(method, *start), flush=True)
    print(_line("all", wall, processor))
    seconds = time.process_time() - processor
    if wrong:
        sys.exit(f"error: drawn with other bytes: {', '.join(wrong)}")
    if seconds > MOST_S:
        sys.exit(f"error: {seconds:.0f} s, more than {MOST_S:g}")


if __name__ == "__main__":
    main()
