"""Check a results folder against the provenance in it, the current code and the current configuration.

It needs only the folder, so a copy on another machine is checked in the same way. It reports changed bytes, missing
files, files without provenance, changed inputs, changed modules and changed settings.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
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
    """One difference between a file and its provenance.

    sentence: describes the difference.
    damaged: Snakemake's name of the file, if its job must run again; else None.
    """

    sentence: str
    damaged: str | None = None


def findings(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield every difference between a results folder and its provenance.

    Args:
        folder: ``results/<scale>`` or a copy of it.
        settings: the current settings by dotted key, for each stage module, and for each ``module estimator`` the
            settings of that estimator.

    Raises:
        InputError: there is no provenance in the folder.
    """
    paths = sorted(folder.rglob("*provenance.json"))
    if not paths:
        raise InputError(f"{folder} holds no provenance.json; name a folder such as results/laptop after a run")
    records, errors = {}, {}
    for path in paths:
        try:
            records[path] = _read_record(path)
        except InputError as error:
            errors[path] = str(error)
    snakemake_name = _naming(folder, records)
    for path, sentence in errors.items():
        yield Finding(sentence, snakemake_name(path))
    checksum, present_code = cache(sha256), cache(_present_code)
    for path, record in records.items():
        yield from _changed_files(path, record, folder, checksum)
        yield from _changed_code(path, record, present_code)
        yield from _changed_settings(path, record, folder, settings)
    accounted = {located(name, folder) for record in records.values() for name in record["outputs"]}.union(paths)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file not in accounted and not _made_by_snakemake(file.relative_to(folder)):
            yield Finding(
                f"{file}: no provenance accounts for it; delete it, or, where its provenance was lost, make both "
                f"again with --forcerun {snakemake_name(file)}"
            )


def _changed_files(
    path: Path, record: Mapping[str, Any], folder: Path, checksum: Callable[[Path], str]
) -> Iterator[Finding]:
    for kind in ("outputs", "inputs"):
        for name, recorded in record[kind].items():
            file = located(name, folder)
            damaged = name if kind == "outputs" else None
            if not os.path.isfile(file):  # noqa: PTH113  Path.is_file fails for a name that no system allows
                yield Finding(f"{file}: is missing, though {path} names it among its {kind}", damaged)
            elif checksum(file) != recorded:
                yield Finding(f"{file}: is not what {path} recorded among its {kind}", damaged)


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


def _naming(folder: Path, records: Mapping[Path, Mapping[str, Any]]) -> Callable[[Path], str]:
    """A function from a file of the folder to Snakemake's name of it, which differs if the folder is a copy."""
    names = (Path(name) for record in records.values() for name in record["outputs"])
    heads = [Path(*name.parts[:2]) for name in names if name.parts[:1] == ("results",) and len(name.parts) > 2]
    head = heads[0] if heads else folder
    return lambda file: (head / file.relative_to(folder)).as_posix()


def located(name: str, folder: Path) -> Path:
    """The file of a recorded path: ``results/<scale>/…`` in `folder`, else relative to the project, or absolute."""
    parts = Path(name).parts
    in_folder = parts[:1] == ("results",) and len(parts) > 2 and parts[1] != "reference"
    return folder.joinpath(*parts[2:]) if in_folder else ROOT / name


def _changed_code(
    path: Path, record: Mapping[str, Any], present_code: Callable[..., dict[str, str]]
) -> Iterator[Finding]:
    present = present_code(*(name for name in (record["module"], record["implementation"]) if name))
    for name in sorted(present.keys() | record["code"].keys()):
        if present.get(name) != record["code"].get(name):
            yield Finding(f"{path}: was made with another {name}")
    if record["environment_lock"] != sha256(ROOT / LOCK):
        yield Finding(f"{path}: was made with another {LOCK}")


def _present_code(*modules: str) -> dict[str, str]:
    try:
        return code_hashes(closure(*modules))
    except (ModuleNotFoundError, OSError):  # a name that no file can have is no module
        return {}


def _changed_settings(
    path: Path, record: Mapping[str, Any], folder: Path, settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    # Networks for the user's data have settings that differ from those of the stage.
    if "apply" in path.relative_to(folder).parts:
        return
    recorded, module = record["settings"], record["module"]
    present = settings.get(module, {}) | settings.get(f"{module} {recorded.get('estimator')}", {})
    for key, value in present.items():
        if recorded.get(key) != value:
            yield Finding(f"{path}: was made with {key} = {recorded.get(key)!r}; it is {value!r} now")


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
        differences = list(findings(arguments.folder, json.loads(arguments.settings)))
    except InputError as error:
        sys.exit(f"error: {error}")
    for finding in differences:
        print(finding.sentence)
    damaged = sorted({finding.damaged for finding in differences if finding.damaged})
    if damaged:
        print(f"to repair: the same snakemake command with --forcerun {shlex.join(damaged)} --")
    if any(" was made with " in finding.sentence for finding in differences):
        print("what was made with other settings or modules: the same snakemake command makes it again")
    if differences:
        sys.exit(f"error: {len(differences)} differences in {arguments.folder}")
    print(f"{arguments.folder}: everything is as its provenance says")


if __name__ == "__main__":
    main()
