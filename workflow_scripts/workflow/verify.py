"""Check a results folder against the provenance inside it, the present code and the present configuration.

Needs nothing but the folder: a copy on another machine is checked the same way. Finds a changed byte, a
missing file, a file that no job accounts for, a changed input, a changed module, a changed setting.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.workflow.closure import ROOT, closure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import sha256
from workflow_scripts.workflow.provenance import LOCK, code_hashes, is_sealed

# Written by Snakemake, not by a stage.
UNACCOUNTED = ("logs/*", "report.html")
_KINDS = dict.fromkeys(("module", "implementation", "environment_lock", "seal"), str) | dict.fromkeys(
    ("settings", "inputs", "outputs", "code"), dict
)


@dataclass(frozen=True)
class Finding:
    """One thing that does not agree.

    sentence: what it is.
    damaged: the file under the name that Snakemake knows it by, where its job must run again; else None.
    """

    sentence: str
    damaged: str | None = None


def findings(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield everything in a results folder that does not agree with its provenance.

    Args:
        folder: ``results/<scale>`` or a copy of it.
        settings: the present settings by dotted key, for each stage module, and for each ``module estimator`` those of
            the estimator alone.

    Raises:
        InputError: there is no provenance in the folder.
    """
    paths = sorted(folder.rglob("*provenance.json"))
    if not paths:
        raise InputError(f"{folder} holds no provenance.json; name a folder such as results/laptop after a run")
    records, complaints = {}, {}
    for path in paths:
        try:
            records[path] = _read_record(path)
        except InputError as error:
            complaints[path] = str(error)
    known = _known_names(folder, records)
    for path, complaint in complaints.items():
        yield Finding(complaint, known(path))
    checksums: dict[Path, str] = {}
    code: dict[tuple[str, ...], dict[str, str]] = {}
    lock = sha256(ROOT / LOCK)
    accounted = set(paths)
    for path, record in records.items():
        for kind in ("outputs", "inputs"):
            for name, recorded in record[kind].items():
                file = located(name, folder)
                damaged = name if kind == "outputs" else None
                if kind == "outputs":
                    accounted.add(file)
                if not is_there(file):
                    yield Finding(f"{file}: is missing, though {path} names it among its {kind}", damaged)
                    continue
                if file not in checksums:
                    checksums[file] = sha256(file)
                if checksums[file] != recorded:
                    yield Finding(f"{file}: is not what {path} recorded among its {kind}", damaged)
        yield from _changed_code(path, record, code)
        if record["environment_lock"] != lock:
            yield Finding(f"{path}: was made with another {LOCK}")
        # The networks of the user's own data have settings of their own beside those of the stage.
        own = "apply" in path.relative_to(folder).parts
        names = record["module"], f"{record['module']} {record['settings'].get('estimator')}"
        present = {} if own else settings.get(names[0], {}) | settings.get(names[1], {})
        for key, value in present.items():
            if record["settings"].get(key) != value:
                yield Finding(f"{path}: was made with {key} = {record['settings'].get(key)!r}; it is {value!r} now")
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file not in accounted and not _made_by_snakemake(file.relative_to(folder)):
            yield Finding(
                f"{file}: no provenance accounts for it; delete it, or, where it is its provenance that was lost, "
                f"make both again with --forcerun {known(file)}"
            )


def is_there(file: Path) -> bool:
    """Whether it is a file; a name that no system can have is none."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def _read_record(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a JSON file ({error})") from None
    record = record if isinstance(record, dict) else {}
    wrong = [name for name, kind in _KINDS.items() if not isinstance(record.get(name), kind)]
    if wrong:
        raise InputError(f"{path}: lacks {', '.join(sorted(wrong))}; it is no provenance of this project")
    if not is_sealed(text, record):
        raise InputError(f"{path}: was changed after its job wrote it")
    return record


def _known_names(folder: Path, records: Mapping[Path, Mapping[str, Any]]) -> Callable[[Path], str]:
    """How a file of the folder is called by Snakemake: as its neighbours are in their provenance."""
    names = (Path(name) for record in records.values() for name in record["outputs"])
    heads = [Path(*name.parts[:2]) for name in names if name.parts[:1] == ("results",) and len(name.parts) > 2]
    head = heads[0] if heads else folder
    return lambda file: (head / file.relative_to(folder)).as_posix()


def located(name: str, folder: Path) -> Path:
    """Where a recorded path lies: ``results/<scale>/…`` inside `folder`, else in the project or where it was."""
    parts = Path(name).parts
    own = parts[:1] == ("results",) and len(parts) > 2 and parts[1] != "reference"
    return folder.joinpath(*parts[2:]) if own else ROOT / name


def _changed_code(
    path: Path, record: Mapping[str, Any], code: dict[tuple[str, ...], dict[str, str]]
) -> Iterator[Finding]:
    modules = tuple(name for name in (record["module"], record["implementation"]) if name)
    if modules not in code:
        try:
            code[modules] = code_hashes(closure(*modules))
        except (ModuleNotFoundError, OSError):  # a name that no system can have is no module
            code[modules] = {}
    for name in sorted(code[modules].keys() | record["code"].keys()):
        if code[modules].get(name) != record["code"].get(name):
            yield Finding(f"{path}: was made with another {name}")


def _made_by_snakemake(relative: Path) -> bool:
    return any(relative.is_relative_to(rule.removesuffix("/*")) for rule in UNACCOUNTED)


def main() -> None:
    """Print every finding; exit code 1 where there is one."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.workflow.verify", description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<scale>, or a copy of it")
    parser.add_argument(
        "--settings",
        default="{}",
        help="present settings as JSON: {module: {dotted key: value}}; `snakemake verify` gives them",
    )
    arguments = parser.parse_args()
    try:
        found = list(findings(arguments.folder, json.loads(arguments.settings)))
    except InputError as error:
        sys.exit(f"error: {error}")
    for finding in found:
        print(finding.sentence)
    damaged = sorted({finding.damaged for finding in found if finding.damaged})
    if damaged:
        print(f"to repair: the same snakemake command with --forcerun {shlex.join(damaged)} --")
    if any(" was made with " in finding.sentence for finding in found):
        print("what was made with other settings or modules: the same snakemake command makes it again")
    if found:
        sys.exit(f"error: {len(found)} differences in {arguments.folder}")
    print(f"{arguments.folder}: everything is as its provenance says")


if __name__ == "__main__":
    main()
