"""Provenance of an artifact: a small JSON file beside it, with which a results folder can be checked by itself."""

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import json_text, read_json, sha256

LOCK = "envs/lock.txt"
_WITHOUT_INFLUENCE = ("gpus", "checkpoint_interval_s")
# Entries that differ between two runs of a job on the same machine.
COST = ("started", "wall_time_s", "cpu_time_s", "peak_memory_mb")
PACKAGES = (
    *("numpy", "scipy", "pandas", "matplotlib", "torch", "safetensors"),
    *("scikit-image", "scikit-learn", "h5py", "tifffile"),
)


def code_hashes(files: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each project file, by its path relative to the project's root."""
    return {name: sha256(ROOT / name) for name in files}


def job_key(module: str, settings: Mapping[str, Any], inputs: Mapping[str, str], code: Mapping[str, str]) -> str:
    """A hash of everything that determines the result of a job, the name of its checkpoint folder.

    `inputs` and `code` map paths to SHA-256. The number of GPUs and the interval between checkpoints are left out, so
    that a job can resume on other hardware.
    """
    relevant = {name: value for name, value in settings.items() if name not in _WITHOUT_INFLUENCE}
    text = json.dumps([module, relevant, dict(inputs), dict(code)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record(**job: Any) -> dict[str, Any]:
    """The provenance of one job as plain JSON; only the entries named in `COST` differ from run to run.

    CPU time is that of this process and its finished children; peak memory is that of this process, imports included.

    Args:
        job: module, implementation, settings, inputs, outputs and code (SHA-256 by path), device, started, wall_time_s.
    """
    return {
        **job,
        "environment_lock": sha256(ROOT / LOCK),
        "versions": {"python": platform.python_version(), **_versions()},
        "cpu_time_s": round(sum(os.times()[:4]), 1),
        "peak_memory_mb": round(_peak_memory_mb()),
    }


def _peak_memory_mb() -> float:
    """The most memory that this process has held at one time, in 10⁶ bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count the memory of the parent at the time when it started this process.
        (kib,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(kib) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with a checksum of itself, so that a changed byte in the provenance is noticed."""
    return {**content, "seal": _seal(content)}


def is_sealed(text: str, content: Mapping[str, Any]) -> bool:
    """Whether a provenance file with this text and content is unchanged since it was written."""
    unsealed = {key: value for key, value in content.items() if key != "seal"}
    return content["seal"] == _seal(unsealed) and text == json_text(content)


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_text(content).encode(errors="surrogatepass")).hexdigest()


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # figures are drawn without torch
            continue
    return versions


def portable(path: Path) -> str:
    """A path as provenance names it: relative to the working folder where it lies inside, else absolute."""
    # Not resolve(): results/ may be a link to a larger disk, and its files must keep their names.
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    return absolute.relative_to(Path.cwd()).as_posix() if absolute.is_relative_to(Path.cwd()) else str(absolute)


def check_whole(hashes: Mapping[Path, str]) -> None:
    """Compare files with the provenance beside them; files without provenance pass.

    Not every format has checksums: a changed byte in an image would go into the results unnoticed.

    Args:
        hashes: SHA-256 by path.

    Raises:
        InputError: a file is not what its job wrote.
    """
    recorded = {folder: _recorded(folder) for folder in {path.parent for path in hashes}}
    for path, checksum in hashes.items():
        if recorded[path.parent].get(path.name, checksum) != checksum:
            raise InputError(
                f"{path} is not what its job wrote (the provenance beside it has another checksum); "
                f"make it again: the same snakemake command with --forcerun {path}"
            )


def _recorded(folder: Path) -> dict[str, str]:
    """SHA-256 by name of the outputs in a folder, according to the provenance files in it."""
    recorded = {}
    for path in folder.glob("*provenance.json"):
        content = read_json(path)
        outputs = content.get("outputs", {}) if isinstance(content, dict) else {}
        recorded |= {Path(name).name: value for name, value in outputs.items() if Path(name).parent.name == folder.name}
    return recorded
