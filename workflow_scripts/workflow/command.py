"""A stage script as an ordinary command line: typed arguments in, whole files and their provenance out."""

import argparse
import datetime
import hashlib
import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Generic

from filelock import FileLock, Timeout
from pydantic import Field, create_model

from workflow_scripts.workflow.closure import ROOT, closure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.failures import explain, leave_on_signals, print_error, signals_postponed
from workflow_scripts.workflow.files import partial_name, sha256, sync, write_json
from workflow_scripts.workflow.provenance import check_whole, code_hashes, job_key, portable, record, sealed
from workflow_scripts.workflow.settings import SettingsType, check, fields, flag, flatten, nest, parse_value

CHECKPOINTS = ROOT / ".checkpoints"
_POLL_S = 1.0


@dataclass
class Job(Generic[SettingsType]):
    """One run of a stage: its arguments, input and output files.

    Attributes:
        arguments: the checked settings and wildcards.
        inputs: paths by name, at least one for each.
        outputs: temporary paths by name; they get their final names when the stage returns.
        checkpoint_folder: survives a killed job and is removed when the outputs are in place; its name is a hash of
            settings, inputs and code.
        implementation: the module chosen by `--module`, if the command has a package of such modules.
        device: recorded in the provenance; set by stages that use a GPU.
    """

    arguments: SettingsType
    inputs: Mapping[str, list[Path]]
    outputs: Mapping[str, Path]
    checkpoint_folder: Path
    implementation: ModuleType | None = None
    device: str = field(default="cpu")

    def input(self, name: str) -> Path:
        """The path of an input that is a single file."""
        (path,) = self.inputs[name]
        return path

    def require(self, *names: str) -> None:
        """Raise InputError if an optional input that the chosen implementation needs is missing."""
        for name in names:
            if name not in self.inputs:
                raise InputError(f"--module {self.arguments.module} needs {flag(name)}, which is missing")


@dataclass(frozen=True)
class Command(Generic[SettingsType]):
    """A stage script's command line.

    Attributes:
        stage: the function that does the work.
        arguments: model of the settings and wildcards, one flag each.
        inputs: help text by name; each flag takes one or more files that must exist.
        outputs: help text by name; each flag takes one file, which appears when it is complete.
        optional_inputs: help text by name of inputs that may be omitted.
        implementations: a package; the flag `--module` chooses one of its modules. If that module defines a settings
            model `Options`, the flags `--options.…` fill `arguments.options`. The code of the other modules is not part
            of the checkpoint key or the provenance.
    """

    stage: Callable[[Job[SettingsType]], None]
    arguments: type[SettingsType]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    optional_inputs: Mapping[str, str] = field(default_factory=dict)
    implementations: str = ""

    def main(self) -> None:
        """Run as ``python -m <module>``; a mistake of the user's ends in one sentence and exit code 1."""
        leave_on_signals()
        try:
            self._run(sys.argv[1:])
        except (InputError, OSError, MemoryError, RuntimeError) as error:
            sentence = explain(error, Path(_value_of(flag("provenance"), sys.argv[1:]) or "").parent)
            if sentence is None:
                raise
            # All processes of torchrun raise the same InputError; one message is enough.
            if _rank() == 0 or not isinstance(error, InputError):
                print_error(sentence)
            sys.exit(1)

    def _run(self, words: list[str]) -> None:
        module = sys.modules["__main__"].__spec__.name
        implementation = self._implementation(words) if self.implementations else None
        model = self._model(implementation)
        values = vars(self._parser(module, model).parse_args(words))
        arguments = check(model, nest({key: parse_value(field, values[key]) for key, field in fields(model)}))
        names = (*self.inputs, *self.optional_inputs)
        inputs = {name: [Path(path) for path in values[name]] for name in names if values[name] is not None}
        for name, paths in inputs.items():
            for path in paths:
                if not path.is_file():
                    raise InputError(f"{flag(name)} names {path}, but there is no such file")
        final = {name: Path(values[name]) for name in (*self.outputs, "provenance")}
        # Under torchrun only the first process leaves files behind.
        with sole_writer(final["provenance"], CHECKPOINTS) if _rank() == 0 else nullcontext():
            self._write(module, implementation, arguments, inputs, final)

    def _model(self, implementation: ModuleType | None) -> type[SettingsType]:
        """The model of the arguments, with a section `options` if the implementation has settings."""
        options = getattr(implementation, "Options", None)
        if options is None:
            return self.arguments
        section = Field(description=f"Settings of {implementation.__name__}.")
        return create_model(self.arguments.__name__, __base__=self.arguments, options=(options, section))

    def _write(
        self,
        module: str,
        implementation: ModuleType | None,
        arguments: SettingsType,
        inputs: Mapping[str, list[Path]],
        final: Mapping[str, Path],
    ) -> None:
        """Run the stage; outputs, and last the provenance, get their final names when all are complete."""
        started, clock = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.monotonic()
        settings = dict(flatten(arguments))
        checksums = {path: sha256(path) for paths in inputs.values() for path in paths}
        check_whole(checksums)
        hashes = {portable(path): checksum for path, checksum in checksums.items()}
        code = code_hashes(closure(module, *([implementation.__name__] if implementation else [])))
        rank = _rank()
        suffix = f".rank{rank}" if rank else ""
        partial = {name: partial_name(path.with_name(path.name + suffix)) for name, path in final.items()}
        folders = {path.parent for path in final.values()}
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        job = Job(arguments, inputs, partial, CHECKPOINTS / job_key(module, settings, hashes, code), implementation)
        try:
            self.stage(job)
            if rank > 0:
                return
            content = record(
                module=module,
                implementation=implementation.__name__ if implementation else "",
                settings=settings,
                inputs=hashes,
                outputs={portable(final[name]): sha256(partial[name]) for name in self.outputs},
                code=code,
                device=job.device,
                started=started,
                wall_time_s=round(time.monotonic() - clock, 1),
            )
            write_json(partial["provenance"], sealed(content))
            for path in partial.values():
                sync(path)
            with signals_postponed():
                for name, path in partial.items():
                    path.replace(final[name])
        finally:
            for path in partial.values():
                path.unlink(missing_ok=True)
        for folder in folders:
            sync(folder)
        shutil.rmtree(job.checkpoint_folder, ignore_errors=True)

    def _implementation(self, words: list[str]) -> ModuleType | None:
        """The module named by the flag `--module`; None without the flag, an error that the full parser reports.

        Raises:
            InputError: there is no such module.
        """
        name = _value_of("--module", words)
        if name is None:
            return None
        folder = ROOT.joinpath(*self.implementations.split("."))
        known = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
        if name not in known:
            raise InputError(f"--module is {name!r}, but must be one of {', '.join(known)}")
        return importlib.import_module(f"{self.implementations}.{name}")

    def _parser(self, module: str, model: type[SettingsType]) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=f"python -m {module}",
            description=sys.modules["__main__"].__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        outputs = {**self.outputs, "provenance": "Provenance of the outputs (.json)."}
        settings = {key: model_field.description or "" for key, model_field in fields(model)}
        for title, texts, options in (
            ("inputs", self.inputs, {"required": True, "nargs": "+", "metavar": "FILE"}),
            ("optional inputs", self.optional_inputs, {"nargs": "+", "metavar": "FILE"}),
            ("outputs", outputs, {"required": True, "metavar": "FILE"}),
            ("settings", settings, {"required": True, "metavar": "VALUE"}),
        ):
            group = parser.add_argument_group(title)
            for name, text in texts.items():
                group.add_argument(flag(name), dest=name, help=text.replace("%", "%%"), **options)
        return parser


@contextmanager
def sole_writer(target: Path, folder: Path) -> Iterator[None]:
    """Lock `target` against other processes on this machine until the block ends, after waiting for them.

    So a job that outlived its Snakemake and the job of a later run do not mix their outputs. The kernel releases the
    lock when the process ends, even if it is killed. There is no lock if the file system does not support it, or if
    `folder` is not writable.

    Args:
        target: what is written; the lock file is named after it.
        folder: holds the lock files; the same for all processes that write `target`.
    """
    name = hashlib.sha256(str(target.absolute()).encode()).hexdigest()[:16]
    lock = FileLock(folder / f"{name}.lock", poll_interval=_POLL_S, fallback_to_soft=False)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"waiting: another process still writes {target}", file=sys.stderr, flush=True)
            lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            # Removed while it is locked: a waiting process notices and creates a new lock file.
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def _value_of(name: str, words: list[str]) -> str | None:
    """The value of one flag, before the whole command line is parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(name, dest="value")
    return parser.parse_known_args(words)[0].value


def _rank() -> int:
    """The number of this process under torchrun, where every process runs the stage; else 0."""
    return int(os.environ.get("RANK", 0))
