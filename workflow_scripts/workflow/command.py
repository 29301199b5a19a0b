"""A stage script as an ordinary command line: typed arguments in, whole files and their provenance out."""

import argparse
import datetime
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from workflow_scripts.workflow.closure import ROOT, closure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import partial_name, sha256, sync, write_json
from workflow_scripts.workflow.provenance import code_hashes, job_key, portable, record
from workflow_scripts.workflow.settings import SettingsType, check, fields, flag, flatten, nest, parse_value

CHECKPOINTS = ROOT / ".checkpoints"


@dataclass
class Job(Generic[SettingsType]):
    """What a stage works with: its arguments, where to read, and where to write.

    Attributes:
        arguments: the checked settings and wildcards.
        inputs: paths by name; every name holds at least one path.
        outputs: temporary paths by name; they get their final names when the stage returns.
        checkpoint_folder: survives a killed job and goes when the outputs are in place; its name is a hash of
            settings, inputs and code.
        device: what the provenance will say; a stage that uses a GPU sets it.
    """

    arguments: SettingsType
    inputs: Mapping[str, list[Path]]
    outputs: Mapping[str, Path]
    checkpoint_folder: Path
    device: str = field(default="cpu")

    def input(self, name: str) -> Path:
        """The only path of an input that is one file."""
        (path,) = self.inputs[name]
        return path


@dataclass(frozen=True)
class Command(Generic[SettingsType]):
    """A stage script's command line.

    Attributes:
        stage: the function that does the work.
        arguments: model of the settings and wildcards, one flag each.
        inputs: help text by name; each takes one or more files that must exist.
        outputs: help text by name; each takes one file that appears only when it is whole.
        optional_inputs: help text by name of inputs that may be left out.
    """

    stage: Callable[[Job[SettingsType]], None]
    arguments: type[SettingsType]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    optional_inputs: Mapping[str, str] = field(default_factory=dict)

    def main(self) -> None:
        """Run as ``python -m <module>``; a mistake of the user's ends in one sentence and exit code 1."""
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            self._run(sys.argv[1:])
        except InputError as error:
            sys.exit(f"error: {error}" if _rank() == 0 else 1)
        except OSError as error:
            # A full disk, a folder without permission: the system's own sentence names the file.
            sys.exit(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")

    def _run(self, words: list[str]) -> None:
        module = sys.modules["__main__"].__spec__.name
        parser = self._parser(module)
        found = vars(parser.parse_args(words))
        arguments = self._check(found)
        inputs = {
            name: [Path(path) for path in found[name]]
            for name in (*self.inputs, *self.optional_inputs)
            if found[name] is not None
        }
        for name, paths in inputs.items():
            for path in paths:
                if not path.is_file():
                    raise InputError(f"{flag(name)} names {path}, but there is no such file")
        final = {name: Path(found[name]) for name in self.outputs}
        provenance = Path(found["provenance"])

        started, clock = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.monotonic()
        settings = dict(flatten(arguments))
        hashes = {portable(path): sha256(path) for paths in inputs.values() for path in paths}
        code = code_hashes(closure(module))
        # Under torchrun the first process alone leaves files behind.
        rank = _rank()
        partial = {name: _rank_name(partial_name(path), rank) for name, path in final.items()}
        for path in (*final.values(), provenance):
            path.parent.mkdir(parents=True, exist_ok=True)
        job = Job(arguments, inputs, partial, CHECKPOINTS / job_key(module, settings, hashes, code))
        try:
            self.stage(job)
            if rank > 0:
                return
            outputs = {portable(final[name]): sha256(path) for name, path in partial.items()}
            for name, path in partial.items():
                sync(path)
                path.replace(final[name])
        finally:
            for path in partial.values():
                path.unlink(missing_ok=True)
        write_json(
            provenance,
            record(
                module=module,
                settings=settings,
                inputs=hashes,
                outputs=outputs,
                code=code,
                device=job.device,
                started=started,
                wall_time_s=round(time.monotonic() - clock, 1),
            ),
        )
        shutil.rmtree(job.checkpoint_folder, ignore_errors=True)

    def _parser(self, module: str) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=f"python -m {module}",
            description=sys.modules["__main__"].__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for group, texts, required in (
            ("inputs", self.inputs, True),
            ("inputs that may be left out", self.optional_inputs, False),
        ):
            if texts:
                section = parser.add_argument_group(group)
                for name, text in texts.items():
                    section.add_argument(
                        flag(name), dest=name, nargs="+", required=required, metavar="FILE", help=_help(text)
                    )
        section = parser.add_argument_group("outputs")
        for name, text in {**self.outputs, "provenance": "where all this came from (.json)"}.items():
            section.add_argument(flag(name), dest=name, required=True, metavar="FILE", help=_help(text))
        section = parser.add_argument_group("settings")
        for key, model_field in fields(self.arguments):
            section.add_argument(
                flag(key), dest=key, required=True, metavar="VALUE", help=_help(model_field.description or "")
            )
        return parser

    def _check(self, found: Mapping[str, Any]) -> SettingsType:
        values = {key: parse_value(model_field, found[key]) for key, model_field in fields(self.arguments)}
        return check(self.arguments, nest(values))


def _rank() -> int:
    """The number of this process under torchrun, where every process runs the stage; else 0."""
    return int(os.environ.get("RANK", 0))


def _rank_name(path: Path, rank: int) -> Path:
    return path if rank == 0 else path.with_name(f"{path.name}.rank{rank}")


def _help(text: str) -> str:
    return text.replace("%", "%%")
