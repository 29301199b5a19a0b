"""A stage script as an ordinary command line: typed arguments in, whole files and their provenance out."""

import argparse
import datetime
import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic

from pydantic import Field, create_model

from workflow_scripts.workflow.closure import ROOT, closure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.exclusive import sole_writer
from workflow_scripts.workflow.failures import leave_on_signals, of_memory, of_the_system, print_error, undisturbed
from workflow_scripts.workflow.files import partial_name, sha256, sync, write_json
from workflow_scripts.workflow.provenance import check_whole, code_hashes, job_key, portable, record, sealed
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
        implementation: the module that `--module` names, where the command has a package of such modules.
        device: what the provenance will say; a stage that uses a GPU sets it.
    """

    arguments: SettingsType
    inputs: Mapping[str, list[Path]]
    outputs: Mapping[str, Path]
    checkpoint_folder: Path
    implementation: ModuleType | None = None
    device: str = field(default="cpu")

    def input(self, name: str) -> Path:
        """The only path of an input that is one file."""
        (path,) = self.inputs[name]
        return path

    def require(self, *names: str) -> None:
        """Raise InputError where an optional input that the chosen implementation needs is missing."""
        for name in names:
            if name not in self.inputs:
                raise InputError(f"--module {self.arguments.module} needs {flag(name)}, which is missing")


@dataclass(frozen=True)
class Command(Generic[SettingsType]):
    """A stage script's command line.

    Attributes:
        stage: the function that does the work.
        arguments: model of the settings and wildcards, one flag each.
        inputs: help text by name; each takes one or more files that must exist.
        outputs: help text by name; each takes one file that appears only when it is whole.
        optional_inputs: help text by name of inputs that may be left out.
        implementations: a package of which the flag `--module` names one module. Where that module defines `Options`,
            a settings model, the flags `--options.…` fill `arguments.options`. The code of the other modules does not
            count for the job's checkpoints and provenance.
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
        except InputError as error:
            if _rank() == 0:
                print_error(str(error))
            sys.exit(1)
        except OSError as error:
            print_error(of_the_system(error, self._folder()))
            sys.exit(1)
        except (MemoryError, RuntimeError) as error:
            if not (sentence := of_memory(error)):
                raise
            print_error(sentence)
            sys.exit(1)

    def _folder(self) -> Path:
        """Where the outputs go, for a sentence."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument(flag("provenance"), type=Path, default=Path())
        return parser.parse_known_args()[0].provenance.parent

    def _run(self, words: list[str]) -> None:
        module = sys.modules["__main__"].__spec__.name
        implementation = self._implementation(words) if self.implementations else None
        options = getattr(implementation, "Options", None)
        if options:
            wanted = Field(description=f"Settings of {implementation.__name__}.")
            model = create_model(self.arguments.__name__, __base__=self.arguments, options=(options, wanted))
        else:
            model = self.arguments
        parser = self._parser(module, model)
        found = vars(parser.parse_args(words))
        arguments = self._check(found, model)
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

        # Under torchrun the first process alone leaves files behind.
        if _rank() > 0:
            self._write(module, implementation, arguments, inputs, final, provenance)
            return
        with sole_writer(provenance, CHECKPOINTS):
            self._write(module, implementation, arguments, inputs, final, provenance)

    def _write(
        self,
        module: str,
        implementation: ModuleType | None,
        arguments: SettingsType,
        inputs: Mapping[str, list[Path]],
        final: Mapping[str, Path],
        provenance: Path,
    ) -> None:
        """Run the stage; its outputs and their provenance get their names together, when all are whole."""
        started, clock = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.monotonic()
        settings = dict(flatten(arguments))
        hashes = {portable(path): sha256(path) for paths in inputs.values() for path in paths}
        check_whole({path: hashes[portable(path)] for paths in inputs.values() for path in paths})
        code = code_hashes(closure(module, *([implementation.__name__] if implementation else [])))
        rank = _rank()
        partial = {name: _rank_name(partial_name(path), rank) for name, path in final.items()}
        partial_record = partial_name(provenance)
        for path in (*final.values(), provenance):
            path.parent.mkdir(parents=True, exist_ok=True)
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
                outputs={portable(final[name]): sha256(path) for name, path in partial.items()},
                code=code,
                device=job.device,
                started=started,
                wall_time_s=round(time.monotonic() - clock, 1),
            )
            write_json(partial_record, sealed(content))
            for path in partial.values():
                sync(path)
            with undisturbed():
                for name, path in partial.items():
                    path.replace(final[name])
                partial_record.replace(provenance)
        finally:
            for path in (*partial.values(), *([partial_record] if rank == 0 else [])):
                path.unlink(missing_ok=True)
        for folder in {path.parent for path in (*final.values(), provenance)}:
            sync(folder)
        shutil.rmtree(job.checkpoint_folder, ignore_errors=True)

    def _implementation(self, words: list[str]) -> ModuleType | None:
        """The module that the command line names; None where it names none, which the whole parser then refuses.

        Raises:
            InputError: there is no such module.
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--module")
        name = parser.parse_known_args(words)[0].module
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
        for key, model_field in fields(model):
            section.add_argument(
                flag(key), dest=key, required=True, metavar="VALUE", help=_help(model_field.description or "")
            )
        return parser

    def _check(self, found: Mapping[str, Any], model: type[SettingsType]) -> SettingsType:
        return check(model, nest({key: parse_value(value, found[key]) for key, value in fields(model)}))


def _rank() -> int:
    """The number of this process under torchrun, where every process runs the stage; else 0."""
    return int(os.environ.get("RANK", 0))


def _rank_name(path: Path, rank: int) -> Path:
    return path if rank == 0 else path.with_name(f"{path.name}.rank{rank}")


def _help(text: str) -> str:
    return text.replace("%", "%%")
