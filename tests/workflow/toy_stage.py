"""A stage of two outputs in a separate project, for the tests of what all stages share."""

import subprocess
import sys

from workflow_scripts.workflow.closure import ROOT

STAGE = '''
"""A toy stage."""
import os, sys, time
from pydantic import Field
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import Settings

class Arguments(Settings):
    scale: float = Field(gt=0, description="A factor of 100 %.")
    mode: str = Field(description="What happens.")

def stage(job):
    job.outputs["first"].write_text(str(job.arguments.scale * float(job.input("numbers").read_text())))
    if job.arguments.mode == "mistake":
        raise InputError("numbers.txt: a mistake of the user's")
    if job.arguments.mode == "bug":
        raise RuntimeError("a bug of ours")
    if job.arguments.mode == "full":
        raise OSError(28, "No space left on device", "first.txt")
    if job.arguments.mode == "big":
        job.outputs["first"].write_bytes(bytes(4_000_000))
    if job.arguments.mode == "large":
        held = b"1" * 200_000_000
    if job.arguments.mode == "memory":
        raise MemoryError("Unable to allocate 9 PiB")
    if job.arguments.mode == "torch":
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    if job.arguments.mode == "slow":
        print("working", flush=True); sys.stdin.readline()
    if job.arguments.mode == "wait":
        print("waiting", flush=True)
        for _ in range(600):  # a signal just before a sleep does not end it
            time.sleep(0.1)
    job.outputs["second"].write_text(job.checkpoint_folder.name)

if __name__ == "__main__":
    Command(stage, Arguments, inputs={"numbers": "a number"}, outputs={"first": "a", "second": "b"}).main()
'''


def make_toy(tmp_path):
    """A copy of the workflow package with a toy stage beside it, and the folder that holds them."""
    package = tmp_path / "workflow_scripts"
    for name in ("__init__.py", "workflow"):
        source = ROOT / "workflow_scripts" / name
        files = [source] if source.is_file() else source.glob("*.py")
        for file in files:
            target = tmp_path / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    (package / "toy.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "lock.txt").write_text("nothing\n")
    (tmp_path / "numbers.txt").write_text("21")
    return tmp_path


def command(mode="good", scale="2.0", numbers="numbers.txt"):
    return [
        *(
            sys.executable,
            "-m",
            "workflow_scripts.toy",
            "--scale",
            scale,
            "--mode",
            mode,
            "--numbers",
            numbers,
        ),
        *("--first", "out/first.txt", "--second", "out/second.txt", "--provenance", "out/provenance.json"),
    ]


def run(folder, *words, **keywords):
    return subprocess.run(command(*words, **keywords), cwd=folder, capture_output=True, text=True, timeout=60)
